//! A whatsapp-rust client for the runner: `whatsapp_rust_client WS_URL CONTROL_URL ROOT_KEY PHONE NAME qr|code`.
//! One JSON object a line: events on standard output, commands on standard input; both are described in `tests/matrix`.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::BufRead;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use whatsapp_rust::bot::Bot;
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::features::{GroupCreateOptions, GroupParticipantOptions};
use whatsapp_rust::pair_code::PairCodeOptions;
use whatsapp_rust::wacore::download::MediaType;
use whatsapp_rust::wacore::net::{HttpClient, HttpRequest};
use whatsapp_rust::wacore::store::InMemoryBackend;
use whatsapp_rust::wacore::types::events::Event;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::{Client, Jid, RevokeType, TokioRuntime, UploadOptions};
use whatsapp_rust_tokio_transport::TokioWebSocketTransportFactory;
use whatsapp_rust_ureq_http_client::UreqHttpClient;

type Outcome = Result<Value, Box<dyn std::error::Error + Send + Sync>>;

fn tell(event: Value) {
    println!("{event}");
}

async fn post(url: String, body: String) -> Result<(), String> {
    let request =
        HttpRequest { url, method: "POST".into(), headers: HashMap::new(), body: Some(body.into_bytes().into()) };
    let answer = UreqHttpClient::new().execute(request).await.map_err(|error| error.to_string())?;
    if answer.status_code < 300 { Ok(()) } else { Err(String::from_utf8_lossy(&answer.body).into_owned()) }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run(args));
}

async fn run(args: Vec<String>) {
    let [ws, control, _root, phone, name, by] = &args[..] else { panic!("six arguments") };
    let scan = format!("{control}/admin/mock-phone/scan-qr?phone={phone}&name={name}");
    let enter = format!("{control}/admin/mock-phone/enter-code?phone={phone}");
    let linked = Arc::new(OnceLock::new());
    let by_code = by == "code";
    let mut builder = Bot::builder()
        .with_backend_arc(Arc::new(InMemoryBackend::new()))
        .with_transport_factory(TokioWebSocketTransportFactory::new().with_url(ws.clone()))
        .with_http_client(UreqHttpClient::new())
        .with_runtime(TokioRuntime)
        .with_version((2, 3000, 0))
        .with_push_name(name.clone())
        .on_event(move |event, client| {
            let (scan, enter, linked) = (scan.clone(), enter.clone(), linked.clone());
            async move {
                let result = match &*event {
                    Event::PairingQrCode(qr) if !by_code && linked.set(()).is_ok() => post(scan, qr.code.clone()).await,
                    Event::PairingCode(code) => post(format!("{enter}&code={}", code.code), String::new()).await,
                    event => {
                        report(event, client).await;
                        Ok(())
                    }
                };
                if let Err(why) = result {
                    tell(json!({ "event": "error", "why": why }));
                }
            }
        });
    if by_code {
        builder = builder.with_pair_code(PairCodeOptions { phone_number: phone.clone(), ..Default::default() });
    }
    let bot = builder.build().await.expect("a client");
    let client = bot.client();
    let handle = bot.spawn();
    let commands = Arc::new(Mutex::new(std::io::BufReader::new(std::io::stdin())));
    loop {
        let commands = commands.clone();
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let read = commands.lock().expect("one reader").read_line(&mut line);
            read.ok().filter(|length| *length > 0).map(|_| line)
        });
        let Some(line) = line.await.ok().flatten() else { break };
        let command: Value = serde_json::from_str(&line).expect("a command");
        let client = client.clone();
        tokio::spawn(async move {
            let tag = command["tag"].clone();
            match obey(&client, &command).await {
                Ok(mut done) => {
                    done["event"] = "done".into();
                    done["tag"] = tag;
                    tell(done);
                }
                Err(error) => tell(json!({ "event": "error", "tag": tag, "why": format!("{error:?}") })),
            }
        });
    }
    handle.shutdown().await;
}

/// A message as the runner reads it: through Wharf's own reading of the same bytes.
async fn report(event: &Event, client: Arc<Client>) {
    match event {
        Event::Connected(_) => tell(json!({ "event": "open" })),
        Event::LoggedOut(_) => tell(json!({ "event": "logged_out" })),
        Event::Messages(batch) => {
            for inbound in batch.messages.iter() {
                let (message, info) = (&inbound.message, &inbound.info);
                let mut told = read(message);
                if told.is_null() {
                    continue;
                }
                if let Some(image) = message.image_message.as_option() {
                    told["sha256"] = downloaded(client.download(image).await);
                }
                if let Some(document) = message.document_message.as_option() {
                    told["sha256"] = downloaded(client.download(document).await);
                }
                told["event"] = "message".into();
                told["id"] = info.id.to_string().into();
                told["chat"] = info.source.chat.to_string().into();
                told["author"] = info.source.sender.to_string().into();
                told["from_me"] = info.source.is_from_me.into();
                tell(told);
            }
        }
        Event::Receipt(receipt) => tell(json!({
            "event": "receipt", "ids": receipt.message_ids.iter().map(|id| id.to_string()).collect::<Vec<_>>(),
            "type": format!("{:?}", receipt.r#type).to_lowercase(), "from": receipt.source.sender.to_string(),
        })),
        Event::UndecryptableMessage(lost) => {
            tell(json!({ "event": "undecryptable", "id": lost.info.id.to_string() }));
        }
        _ => {}
    }
}

fn downloaded<E: std::fmt::Display>(data: Result<Vec<u8>, E>) -> Value {
    match data {
        Ok(data) => wharf_peers::sha256_hex(&data).into(),
        Err(error) => format!("not downloaded: {error}").into(),
    }
}

fn read(message: &wa::Message) -> Value {
    use prost::Message as _;
    let bytes = message.encode_to_vec();
    let Ok(message) = wharf::wire::proto::Message::decode(&bytes[..]) else { return Value::Null };
    let edited = message.edited_message.and_then(|wrapped| wrapped.message).and_then(|inner| inner.protocol_message);
    if let Some(protocol) = message.protocol_message.or(edited) {
        let target = protocol.key.unwrap_or_default().id;
        return match protocol.r#type {
            Some(0) => json!({ "kind": "revoke", "target": target }),
            Some(14) => {
                let text = protocol.edited_message.unwrap_or_default();
                let text = text.conversation.or(text.extended_text_message.and_then(|text| text.text));
                json!({ "kind": "edit", "target": target, "text": text })
            }
            _ => Value::Null,
        };
    }
    if let Some(reaction) = message.reaction_message {
        return json!({ "kind": "reaction", "target": reaction.key.unwrap_or_default().id, "text": reaction.text });
    }
    if let Some(text) = message.conversation.or(message.extended_text_message.and_then(|text| text.text)) {
        return json!({ "kind": "text", "text": text });
    }
    if let Some(image) = message.image_message {
        return json!({ "kind": "image", "text": image.caption });
    }
    if let Some(document) = message.document_message {
        return json!({ "kind": "document", "text": document.caption });
    }
    Value::Null
}

fn text_of(command: &Value, field: &str) -> String {
    command[field].as_str().unwrap_or_default().to_owned()
}

fn jid_of(command: &Value, field: &str) -> Result<Jid, Box<dyn std::error::Error + Send + Sync>> {
    Ok(text_of(command, field).parse()?)
}

fn people(command: &Value) -> Vec<Jid> {
    let numbers = command["participants"].as_array().cloned().unwrap_or_default();
    numbers.iter().filter_map(Value::as_str).map(Jid::pn).collect()
}

fn written(text: String) -> wa::Message {
    wa::Message { conversation: Some(text), ..Default::default() }
}

async fn obey(client: &Arc<Client>, command: &Value) -> Outcome {
    match command["do"].as_str().unwrap_or_default() {
        "text" => {
            let sent = client.send_message(jid_of(command, "to")?, written(text_of(command, "text"))).await?;
            Ok(json!({ "id": sent.message_id }))
        }
        "react" => {
            let key = wa::MessageKey {
                remote_jid: Some(text_of(command, "chat")),
                from_me: command["from_me"].as_bool(),
                id: Some(text_of(command, "id")),
                participant: command["author"].as_str().map(str::to_owned),
            };
            let sent = client.send_reaction(jid_of(command, "chat")?, key, &text_of(command, "emoji")).await?;
            Ok(json!({ "id": sent.message_id }))
        }
        "edit" => {
            let text = written(text_of(command, "text"));
            let id = client.edit_message(jid_of(command, "chat")?, text_of(command, "id"), text).await?;
            Ok(json!({ "id": id }))
        }
        "revoke" => {
            let chat = jid_of(command, "chat")?;
            client.revoke_message(chat, text_of(command, "id"), RevokeType::Sender).await?;
            Ok(json!({}))
        }
        "media" => send_medium(client, command).await,
        "read" => {
            let author = command["author"].as_str().map(str::parse::<Jid>).transpose()?;
            let id = text_of(command, "id");
            client.mark_as_read(&jid_of(command, "chat")?, author.as_ref(), &[&id]).await?;
            Ok(json!({}))
        }
        "create_group" => {
            let participants = people(command).into_iter().map(GroupParticipantOptions::new).collect();
            let options = GroupCreateOptions::builder().subject(text_of(command, "subject")).participants(participants);
            let group = client.groups().create_group(options.finish()).await?;
            Ok(json!({ "group": group.metadata.id.to_string() }))
        }
        "add" => {
            client.groups().add_participants(jid_of(command, "group")?, &people(command)).await?;
            Ok(json!({}))
        }
        "remove" => {
            client.groups().remove_participants(jid_of(command, "group")?, &people(command)).await?;
            Ok(json!({}))
        }
        // The client's own: it is away for five seconds, and comes back by itself.
        "leave_for_a_while" => {
            client.reconnect().await;
            Ok(json!({}))
        }
        "come_back" => {
            client.wait_for_connected(Duration::from_secs(30)).await?;
            Ok(json!({}))
        }
        "logout" => {
            client.logout().await;
            Ok(json!({}))
        }
        other => Err(format!("no command {other:?}").into()),
    }
}

async fn send_medium(client: &Arc<Client>, command: &Value) -> Outcome {
    let data = text_of(command, "data").into_bytes();
    let image = command["kind"] == "image";
    let kind = if image { MediaType::Image } else { MediaType::Document };
    let up = client.upload(data, kind, UploadOptions::default()).await?;
    let (key, sha, enc) = (up.media_key.to_vec(), up.file_sha256.to_vec(), up.file_enc_sha256.to_vec());
    let message = if image {
        let image = wa::message::ImageMessage {
            url: Some(up.url),
            direct_path: Some(up.direct_path),
            media_key: Some(key),
            file_sha256: Some(sha),
            file_enc_sha256: Some(enc),
            file_length: Some(up.file_length),
            mimetype: Some("image/jpeg".into()),
            caption: Some(text_of(command, "text")),
            ..Default::default()
        };
        wa::Message { image_message: Some(image).into(), ..Default::default() }
    } else {
        let document = wa::message::DocumentMessage {
            url: Some(up.url),
            direct_path: Some(up.direct_path),
            media_key: Some(key),
            file_sha256: Some(sha),
            file_enc_sha256: Some(enc),
            file_length: Some(up.file_length),
            mimetype: Some("text/plain".into()),
            file_name: Some("notes.txt".into()),
            caption: Some(text_of(command, "text")),
            ..Default::default()
        };
        wa::Message { document_message: Some(document).into(), ..Default::default() }
    };
    let sent = client.send_message(jid_of(command, "to")?, message).await?;
    Ok(json!({ "id": sent.message_id }))
}
