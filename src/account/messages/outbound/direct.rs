//! Sending to one contact: encrypted for each of its devices, and for our other devices (`wire-protocol.md` 1.11).

use super::bundles;
use super::fanout::{device_identity, encrypt_each, secret_of};
use super::queue::{Outgoing, Wait};
use super::step::{NO_DEVICES, NOT_FOUND, Step};
use super::targets::Targets;
use crate::account::content::stanza_type;
use crate::account::error::AccountError;
use crate::account::messages::requests::Request;
use crate::account::messages::sent;
use crate::account::own_device::Linked;
use crate::account::privacy::tokens;
use crate::account::turn::Turn;
use crate::account::turn::notice::{Lookup, Notice};
use crate::account::turn::requests::Requests;
use crate::wire::message::device_sent;
use crate::wire::proto::Message;
use crate::wire::{Jid, Node, Server, reporting};
use prost::Message as _;

pub(super) async fn prepare(
    turn: &mut Turn<'_>,
    requests: &mut Requests<Request>,
    own: &Linked,
    seq: u64,
    entry: &mut Outgoing,
) -> Result<Step, AccountError> {
    let users = [entry.to.clone(), own.jid.bare()];
    let asked = users.clone();
    let known = turn.devices(move |devices| Ok([devices.known(&asked[0])?, devices.known(&asked[1])?])).await?;
    let [Some(recipient), Some(ourselves)] = &known else {
        if entry.looked_up {
            return Ok(Step::Failed(NOT_FOUND));
        }
        let missing = users.into_iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(user, _)| user.bare());
        return Ok(look_up(turn, missing.collect()));
    };
    let targets = Targets::choose(own, recipient, ourselves, &entry.unreachable);
    if targets.theirs.is_empty() {
        return Ok(Step::Failed(NO_DEVICES));
    }
    let all: Vec<Jid> = targets.all().cloned().collect();
    if bundles::fetch(turn, requests, seq, &all).await? {
        return Ok(Step::Waiting(Wait::Bundles));
    }
    encrypt(turn, own, entry, &targets).await
}

/// Has the device lists of these users queried.
pub(super) fn look_up(turn: &mut Turn<'_>, users: Vec<Jid>) -> Step {
    let waits = users.iter().cloned().collect();
    turn.announce(Notice::Devices { users, lookup: Lookup::Wanted });
    Step::Waiting(Wait::Devices { users: waits, outdated: false })
}

/// Encrypts for every device and builds the stanza.
async fn encrypt(
    turn: &mut Turn<'_>,
    own: &Linked,
    entry: &mut Outgoing,
    targets: &Targets,
) -> Result<Step, AccountError> {
    let (kind, encoded) = entry.encoded(turn);
    let message = Message::decode(&*encoded).map_err(|_| AccountError::Record { what: "outgoing message" })?;
    let secret = secret_of(&message);
    let copy = device_sent(&targets.to.to_string(), message).encode_to_vec();
    let theirs = targets.theirs.iter().map(|device| (device.clone(), encoded.clone()));
    let ours = targets.ours.iter().map(|device| (device.clone(), copy.clone()));
    let fan_out = encrypt_each(turn, theirs.chain(ours).collect()).await?;
    if !fan_out.reached.iter().any(|device| targets.theirs.contains(device)) {
        return Ok(Step::Failed(NO_DEVICES));
    }
    let sender = if targets.to.server() == Server::Lid { own.lid.as_ref().unwrap_or(&own.jid) } else { &own.jid };
    let reporting = reporting::token(&encoded, &secret, &entry.id, sender, &targets.to).map(reporting::node);
    let token = tokens::for_message(turn, &targets.to).await?;
    sent::put(turn, &entry.id, &targets.to, &entry.recipients, encoded);
    let stanza = Node::new("message")
        .attr("to", &targets.to)
        .attr("id", entry.id.to_string())
        .attr("type", stanza_type(&kind))
        .child(Node::new("participants").children(fan_out.participants))
        .children(fan_out.begins.then(|| device_identity(own)))
        .children(reporting)
        .children(token);
    Ok(Step::Encrypted(Box::new(stanza)))
}
