//! The steps: messages, receipts, groups, status and second companions.

use crate::client::{Client, Kind};
use crate::network::Network;
use crate::report::{Lacks, Report, Trouble};
use serde_json::{Value, json};

type Outcome = Result<(), Trouble>;

fn ensure(holds: bool, why: &str) -> Outcome {
    if holds { Ok(()) } else { Err(Trouble::Failed(why.to_owned())) }
}

/// A writes to B: every kind of message.
pub fn pair(report: &mut Report, network: &Network, a: &Client, b: &Client) {
    let who = format!("{} → {}", a.kind.name(), b.kind.name());
    let unique = |text: &str| format!("{text}, {who}");
    report.step("text", &who, || text(network, a, b, &unique("hello")));
    report.step("receipts", &who, || receipts(network, a, b, &unique("seen?")));
    report.step("reaction", &who, || reaction(network, a, b, &unique("react to me")));
    report.step("edit and revoke", &who, || edit_and_revoke(network, a, b, &unique("wrong")));
    report.step("image", &who, || medium(network, a, b, "image", &unique("an image")));
    report.step("document", &who, || medium(network, a, b, "document", &unique("a document")));
    report.step("retry after corruption", &who, || retry(network, a, b, &unique("to be corrupted")));
    report.step("offline queue", &who, || offline_queue(network, a, b, &unique("while away")));
    report.step("quote", &who, || quote(network, a, b, &unique("quoted")));
}

fn text(network: &Network, a: &Client, b: &Client, text: &str) -> Outcome {
    a.send_text(network, &b.jid(), text)?;
    let got = b.receive(network, text)?;
    ensure(got["kind"] == "text", &format!("another kind: {got}"))?;
    network.until("the phone has it too", || {
        network.listed(&b.number).into_iter().find(|message| message["text"] == text).map(|_| ())
    })?;
    ensure(b.told(text).len() <= 1, "it came twice")
}

fn receipts(network: &Network, a: &Client, b: &Client, text: &str) -> Outcome {
    let id = a.send_text(network, &b.jid(), text)?;
    let got = b.receive(network, text)?;
    if b.kind.is_foreign() {
        b.command(json!({ "do": "read", "chat": got["chat"], "id": id, "author": got["author"] }))?;
    }
    // The person's phone sends its own receipt: this one is the device's.
    if b.kind != Kind::Phone {
        network.until("its device has sent a receipt", || {
            let mine = |stanza: &String| stanza.starts_with("<receipt") && stanza.contains(&id);
            network.sent_by(&b.number).iter().any(mine).then_some(())
        })?;
    }
    match a.kind {
        Kind::Phone => Ok(()),
        Kind::Wharf => Ok(network.until("the message is read", || {
            let message = network.wharf("GET", &format!("/accounts/{}/messages/{id}", a.account), None).ok()?;
            (message["status"] == "read").then_some(())
        })?),
        _ => {
            let is_read = |event: &Value| {
                let ids = event["ids"].as_array().cloned().unwrap_or_default();
                event["event"] == "receipt" && event["type"] == "read" && ids.contains(&json!(id))
            };
            a.wait("the message was read", is_read).map(|_| ())
        }
    }
}

fn reaction(network: &Network, a: &Client, b: &Client, text: &str) -> Outcome {
    if a.kind == Kind::Wharf {
        return Err(Lacks("wharf does not show reactions yet").into());
    }
    let id = a.send_text(network, &b.jid(), text)?;
    let got = b.receive(network, text)?;
    match b.kind {
        Kind::Phone => {
            let body = json!({ "to": a.jid(), "reaction": { "message_id": id, "emoji": "🚢" } });
            network.sandbox("POST", &format!("/phones/{}/messages", b.number), Some(body))?;
        }
        _ => {
            let react = json!({ "do": "react", "chat": got["chat"], "id": id, "from_me": false, "emoji": "🚢" });
            b.command(react)?;
        }
    }
    let fits = |it: &Value| it["kind"] == "reaction" && it["target"] == id && it["text"] == "🚢";
    match a.kind {
        Kind::Phone => Ok(network.until("the phone has the reaction", || {
            let listed = network.listed(&a.number);
            listed.iter().any(|it| it["type"] == "reaction" && it["target"] == id).then_some(())
        })?),
        _ => a.wait("got the reaction", fits).map(|_| ()),
    }
}

fn edit_and_revoke(network: &Network, a: &Client, b: &Client, text: &str) -> Outcome {
    if b.kind == Kind::Wharf {
        return Err(Lacks("wharf does not show edits yet").into());
    }
    let id = a.send_text(network, &b.jid(), text)?;
    b.receive(network, text)?;
    let right = format!("right: {text}");
    match a.kind {
        Kind::Phone => {
            let path = format!("/phones/{}/messages", a.number);
            let edit = json!({ "to": b.jid(), "edit": { "message_id": id, "text": right } });
            network.sandbox("POST", &path, Some(edit))?;
            let revoke = json!({ "to": b.jid(), "revoke": { "message_id": id } });
            network.sandbox("POST", &path, Some(revoke))?;
        }
        _ => {
            a.command(json!({ "do": "edit", "chat": b.jid(), "id": id, "text": right }))?;
            a.command(json!({ "do": "revoke", "chat": b.jid(), "id": id }))?;
        }
    }
    for kind in ["edit", "revoke"] {
        if b.kind == Kind::Phone {
            network.until(kind, || {
                let fits = |it: &Value| it["type"] == kind && it["target"] == id;
                network.listed(&b.number).iter().any(fits).then_some(())
            })?;
        } else {
            b.wait(kind, |it| it["kind"] == kind && it["target"] == id)?;
        }
    }
    Ok(())
}

fn medium(network: &Network, a: &Client, b: &Client, kind: &str, text: &str) -> Outcome {
    if b.kind == Kind::Wharf {
        return Err(Lacks("wharf does not show media yet").into());
    }
    let data = format!("the {kind} of {text}. ").repeat(3000);
    match a.kind {
        Kind::Phone => {
            let mut body = json!({ "to": b.jid() });
            body[kind] = json!({ "data": base64(data.as_bytes()), "caption": text });
            network.sandbox("POST", &format!("/phones/{}/messages", a.number), Some(body))?;
        }
        _ => {
            a.command(json!({ "do": "media", "to": b.jid(), "kind": kind, "data": data, "text": text }))?;
        }
    }
    let got = b.receive(network, text)?;
    let expected = wharf_peers::sha256_hex(data.as_bytes());
    ensure(got["kind"] == kind && got["sha256"] == expected, &format!("not the same: {got}"))
}

fn base64(data: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(data)
}

fn retry(network: &Network, a: &Client, b: &Client, text: &str) -> Outcome {
    if b.kind == Kind::Phone {
        return Err(Lacks("faults are of linked devices").into());
    }
    let fault = json!({ "kind": "corrupt", "account": b.number, "count": 1, "seed": 7 });
    network.sandbox("POST", "/faults", Some(fault))?;
    a.send_text(network, &b.jid(), text)?;
    let got = b.receive(network, text).map(|_| ());
    let faults = network.sandbox("GET", "/faults", None)?;
    network.sandbox("DELETE", "/faults", None)?;
    ensure(faults["data"][0]["hits"] == 1, "nothing was corrupted")?;
    got
}

fn offline_queue(network: &Network, a: &Client, b: &Client, text: &str) -> Outcome {
    let texts: Vec<String> = (1..=3).map(|n| format!("{text} {n}")).collect();
    match b.kind {
        Kind::Phone => return Err(Lacks("a phone is always there").into()),
        Kind::Wharf => {
            network.wharf("POST", &format!("/accounts/{}/stop", b.account), None)?;
        }
        _ => {
            b.forget("open");
            b.command(json!({ "do": "leave_for_a_while" }))?;
        }
    }
    network.until("its device is away", || {
        let phone = network.sandbox("GET", &format!("/phones/{}", b.number), None).ok()?;
        phone["online"].as_array()?.is_empty().then_some(())
    })?;
    let ids: Vec<String> = texts.iter().map(|text| a.send_text(network, &b.jid(), text)).collect::<Result<_, _>>()?;
    match b.kind {
        Kind::Wharf => {
            network.wharf("POST", &format!("/accounts/{}/start", b.account), None)?;
        }
        _ => {
            b.command(json!({ "do": "come_back" }))?;
            b.wait("it is open again", |event| event["event"] == "open")?;
        }
    }
    if b.kind == Kind::WhatsappRust {
        let phone = network.sandbox("GET", &format!("/phones/{}", b.number), None)?;
        ensure(phone["handshakes"]["1"] == "ik", &format!("it knew the service's key: {phone}"))?;
    }
    for text in &texts {
        b.receive(network, text)?;
        ensure(b.told(text).len() <= 1, "it came twice")?;
    }
    network.until("its device has told that it has each of them", || {
        let told = network.sent_by(&b.number);
        let receipts: Vec<&String> = told.iter().filter(|stanza| stanza.starts_with("<receipt")).collect();
        ids.iter().all(|id| receipts.iter().any(|receipt| receipt.contains(id))).then_some(())
    })?;
    if (a.kind, b.kind) == (Kind::WhatsappRust, Kind::Wharf) {
        a.wait("one receipt for all of them", |event| {
            let named = event["ids"].as_array().map(|named| named.iter().filter_map(Value::as_str).collect::<Vec<_>>());
            event["event"] == "receipt" && named.is_some_and(|named| ids.iter().all(|id| named.contains(&id.as_str())))
        })?;
    }
    Ok(())
}

/// A reply with a quote.
fn quote(network: &Network, a: &Client, b: &Client, text: &str) -> Outcome {
    if a.kind != Kind::Wharf || b.kind == Kind::Wharf {
        return Err(Lacks("the commands of the matrix quote from wharf only").into());
    }
    let id = b.send_text(network, &a.jid(), text)?;
    a.receive(network, text)?;
    let answer = format!("an answer to: {text}");
    let message = json!({ "to": b.jid(), "text": { "body": answer }, "context": { "message_id": id } });
    network.wharf("POST", &format!("/accounts/{}/messages", a.account), Some(message))?;
    b.receive(network, &answer)?;
    let listed = network.listed(&b.number);
    let listed = listed.iter().find(|it| it["text"] == answer).ok_or("the phone has not got it")?;
    ensure(
        listed["context"]["message_id"] == id && listed["context"]["from"] == b.number,
        &format!("another quote: {listed}"),
    )
}

/// All capable clients in one group.
pub fn group(report: &mut Report, network: &Network, clients: &[Client]) {
    let members: Vec<&Client> = clients.iter().collect();
    for founder in members.iter().filter(|client| client.kind.is_foreign()) {
        let who = format!("{} and {} more", founder.kind.name(), members.len() - 1);
        let others: Vec<&&Client> = members.iter().filter(|client| client.number != founder.number).collect();
        let numbers: Vec<&str> = others.iter().map(|client| client.number.as_str()).collect();
        let Some(group) = report.step("create a group", &who, || {
            let asked = json!({ "do": "create_group", "subject": who, "participants": numbers });
            let made = founder.command(asked)?;
            let id = made["group"].as_str().unwrap_or_default().to_owned();
            let id = if id.contains('@') { id } else { format!("{id}@g.us") };
            let made = network.sandbox("GET", &format!("/groups/{id}"), None)?;
            let size = made["participants"].as_array().map_or(0, Vec::len);
            ensure(size == members.len(), &format!("not all are in it: {made}"))?;
            Ok::<_, Trouble>(id)
        }) else {
            continue;
        };
        for author in &members {
            let who = format!("{} to all", author.kind.name());
            report.step("group text", &who, || {
                to_all(network, author, &members, &group, &format!("first of {who} {group}"))
            });
            report.step("group text, key known", &who, || key_reused(network, author, &members, &group, &who));
        }
        let Some(leaver) = others.last() else { continue };
        let who = format!("{} without {}", founder.kind.name(), leaver.kind.name());
        report.step("member removed and added", &who, || removed_and_added(network, founder, leaver, &members, &group));
    }
}

/// A status of each capable client to all others; again once they have the key.
pub fn status(report: &mut Report, network: &Network, clients: &[Client]) {
    let can_write = |client: &&Client| matches!(client.kind, Kind::Baileys7 | Kind::Baileys6 | Kind::Wharf);
    for author in clients.iter().filter(can_write) {
        let readers: Vec<&Client> = clients.iter().filter(|client| client.number != author.number).collect();
        let numbers: Vec<&str> = readers.iter().map(|reader| reader.number.as_str()).collect();
        for time in ["first", "second"] {
            report.step("status", &format!("{time} of {}", author.kind.name()), || {
                let text = format!("the {time} status of {}", author.kind.name());
                if author.kind == Kind::Wharf {
                    let to = "status@broadcast";
                    let body = json!({ "to": to, "type": "text", "text": { "body": text }, "recipients": numbers });
                    network.wharf("POST", &format!("/accounts/{}/messages", author.account), Some(body))?;
                } else {
                    author.command(json!({ "do": "status", "text": text, "readers": numbers }))?;
                }
                for reader in &readers {
                    let got = reader.receive(network, &text)?;
                    ensure(got["chat"] == "status@broadcast", &format!("{}: elsewhere: {got}", reader.kind.name()))?;
                }
                Ok::<_, Trouble>(())
            });
        }
    }
}

fn to_all(network: &Network, author: &Client, members: &[&Client], group: &str, text: &str) -> Outcome {
    author.send_text(network, group, text)?;
    for reader in members.iter().filter(|reader| reader.number != author.number) {
        let got = reader.receive(network, text)?;
        ensure(got["chat"] == group, &format!("{}: in another chat: {got}", reader.kind.name()))?;
    }
    Ok(())
}

/// The second message brings no sender key: every device has it.
fn key_reused(network: &Network, author: &Client, members: &[&Client], group: &str, who: &str) -> Outcome {
    to_all(network, author, members, group, &format!("second of {who} {group}"))?;
    if author.kind == Kind::Phone {
        return Ok(());
    }
    let to_group = |stanza: &String| stanza.starts_with("<message") && stanza.contains(group);
    let sent: Vec<String> = network.sent_by(&author.number).into_iter().filter(to_group).collect();
    let last = sent.last().ok_or("its stanza was not seen")?;
    // Some clients send it to their own phone each time.
    let phone = network.sandbox("GET", &format!("/phones/{}", author.number), None)?;
    let own = phone["lid"].as_str().unwrap_or_default().trim_end_matches("@lid").to_owned();
    let told = last.split("<to jid=\"").skip(1).filter(|rest| !rest.starts_with(&own)).count();
    ensure(told == 0, &format!("the key was sent again: {last}"))
}

fn removed_and_added(
    network: &Network,
    founder: &Client,
    leaver: &Client,
    members: &[&Client],
    group: &str,
) -> Outcome {
    founder.command(json!({ "do": "remove", "group": group, "participants": [leaver.number] }))?;
    let rest: Vec<&Client> = members.iter().filter(|member| member.number != leaver.number).copied().collect();
    let (without, again) = (format!("without you {group}"), format!("with you {group}"));
    to_all(network, founder, &rest, group, &without)?;
    founder.command(json!({ "do": "add", "group": group, "participants": [leaver.number] }))?;
    to_all(network, founder, members, group, &again)?;
    let saw = match leaver.kind {
        Kind::Phone => network.listed(&leaver.number).iter().any(|it| it["text"] == without),
        Kind::Wharf => leaver.has(network, &without),
        _ => !leaver.told(&without).is_empty(),
    };
    ensure(!saw, "who was removed could read on")
}

/// Another client of the same phone, linked by code: it sees both sides, and can be unlinked.
pub fn second_companion(report: &mut Report, network: &Network, first: &Client, other: &Client) {
    let who = first.kind.name();
    let by = match first.kind {
        Kind::Phone => return,
        Kind::Wharf => "qr",
        _ => "code",
    };
    let link = || Client::start_on(network, first.kind, first.number.clone(), by);
    let linked = report.step(&format!("link another by {by}"), who, link);
    let Some(second) = linked else { return };
    report.step("both companions get it", who, || {
        let text = format!("to both of {who}");
        other.send_text(network, &first.jid(), &text)?;
        first.receive(network, &text)?;
        second.receive(network, &text).map(|_| ())
    });
    report.step("a copy of what the other wrote", who, || {
        let text = format!("from the first of {who}");
        first.send_text(network, &other.jid(), &text)?;
        let copy = second.receive(network, &text)?;
        ensure(copy["from_me"] == true, &format!("not as our own: {copy}"))?;
        let chat = copy["chat"].as_str().unwrap_or_default();
        let phone = network.sandbox("GET", &format!("/phones/{}", other.number), None)?;
        ensure(chat == other.jid() || phone["lid"] == chat, &format!("in another chat: {copy}"))
    });
    report.step("log out", who, || {
        match first.kind {
            Kind::Wharf => drop(network.wharf("DELETE", &format!("/accounts/{}", second.account), None)?),
            // Some end before they answer.
            _ => drop(second.command(json!({ "do": "logout" }))),
        }
        Ok::<_, Trouble>(network.until("the companion is gone", || {
            let phone = network.sandbox("GET", &format!("/phones/{}", first.number), None).ok()?;
            (phone["companions"].as_array()?.len() == 1).then_some(())
        })?)
    });
    report.step("text after the log-out", who, || {
        let text = format!("still there, {who}?");
        other.send_text(network, &first.jid(), &text)?;
        first.receive(network, &text).map(|_| ())
    });
}
