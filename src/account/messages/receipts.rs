//! Receipts: how far messages have come, told and heard (`wire-protocol.md` 1.8).
//!
//! A receipt is also the acknowledgement of a message. Those of a backlog are told together, as soon as a batch has come; what a
//! cut connection took with it is told when the service sends those messages again.

use crate::account::Children;
use crate::account::error::AccountError;
use crate::account::messages::inbound::Envelope;
use crate::account::messages::record::MessageStatus;
use crate::account::router::{Router, Turn};
use crate::base::ids::MessageId;
use crate::wire::{Jid, Node};
use serde_json::json;

/// Messages of one receipt.
const MAX_TOGETHER: usize = 256;
/// Receipts that are kept back at the same time.
const MAX_KEPT: usize = 64;

/// Whom a receipt is for, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    to: Jid,
    participant: Option<Jid>,
    kind: Option<&'static str>,
    recipient: Option<Jid>,
}

/// Receipts for messages of a backlog, in the order of the first message of each.
#[derive(Debug, Default)]
pub(in crate::account) struct Kept(Vec<(Address, Vec<MessageId>)>);

impl Kept {
    /// Takes one more message; returns what is to be written now.
    fn keep(&mut self, address: Address, id: MessageId) -> Option<Node> {
        let at = match self.0.iter().position(|(known, _)| *known == address) {
            Some(at) => at,
            None => {
                self.0.push((address, Vec::new()));
                self.0.len() - 1
            }
        };
        self.0[at].1.push(id);
        if self.0[at].1.len() < MAX_TOGETHER && self.0.len() <= MAX_KEPT {
            return None;
        }
        let (address, ids) = self.0.remove(if self.0.len() > MAX_KEPT { 0 } else { at });
        receipt(address, ids)
    }
}

fn receipt(address: Address, ids: Vec<MessageId>) -> Option<Node> {
    let mut ids = ids.into_iter().map(|id| id.as_str().to_owned());
    let receipt = Node::new("receipt")
        .attr("to", &address.to)
        .maybe("participant", address.participant.as_ref())
        .attr("id", ids.next()?)
        .maybe("type", address.kind)
        .maybe("recipient", address.recipient.as_ref());
    let more: Vec<Node> = ids.map(|id| Node::new("item").attr("id", id)).collect();
    Some(if more.is_empty() { receipt } else { receipt.child(Node::new("list").children(more)) })
}

impl Router {
    /// Tells that a message has been taken: by a receipt, a status by an acknowledgement alone.
    pub(in crate::account) fn answer<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
        envelope: &Envelope,
        extra: Option<&'static str>,
    ) {
        if envelope.chat == Jid::status() {
            return self.acknowledge(turn, node);
        }
        let (kind, recipient) = match (envelope.peer, envelope.own) {
            (true, _) => (Some("peer_msg"), None),
            (false, true) => (Some("sender"), Some(&envelope.chat).filter(|_| !envelope.is_shared())),
            (false, false) => (None, None),
        };
        let shared = envelope.is_shared();
        for kind in [kind].into_iter().chain(extra.map(Some)) {
            let address = Address {
                to: if shared { envelope.chat.clone() } else { envelope.from.clone() },
                participant: shared.then(|| envelope.from.clone()),
                kind,
                recipient: recipient.cloned(),
            };
            let together = node.has("offline") && self.drain.is_coming();
            let due = if together {
                self.receipts.keep(address, envelope.id.clone())
            } else {
                receipt(address, vec![envelope.id.clone()])
            };
            if let Some(due) = due {
                self.write(turn, due);
            }
        }
    }

    /// Tells what was kept back.
    pub(in crate::account) fn tell_receipts<C>(&mut self, turn: &mut Turn<'_, C>) {
        for due in std::mem::take(&mut self.receipts).0.into_iter().filter_map(|(address, ids)| receipt(address, ids)) {
            self.write(turn, due);
        }
    }

    /// A receipt tells how far messages of ours have come.
    pub(in crate::account) async fn on_receipt<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        if node.is("type", "retry") {
            return self.on_retry(turn, node).await;
        }
        let from = node.require_jid("from")?;
        let reader = node.jid("participant").unwrap_or_else(|| from.clone()).bare();
        // What several members have told while we were away.
        let of_many: Vec<&Node> = node.nodes().iter().filter(|child| child.tag == "participants").collect();
        if let Some(status) = status_of(node).filter(|_| of_many.is_empty()) {
            let listed = node.find("list").map(Node::nodes).unwrap_or_default();
            let ids = listed.iter().filter_map(|item| item.text("id")).chain(node.text("id"));
            for id in ids.map(|id| MessageId::new(id.into_owned())).collect::<Vec<_>>() {
                self.advance(turn, &id, &reader, status).await?;
            }
        }
        for of_message in of_many {
            let Some(id) = of_message.text("key").map(|id| MessageId::new(id.into_owned())) else { continue };
            for user in of_message.nodes().iter().filter(|child| child.tag == "user") {
                if let (Some(status), Some(reader)) = (status_of(user), user.jid("jid")) {
                    self.advance(turn, &id, &reader.bare(), status).await?;
                }
            }
        }
        self.acknowledge(turn, node);
        Ok(())
    }

    async fn advance<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &MessageId,
        reader: &Jid,
        status: MessageStatus,
    ) -> Result<(), AccountError> {
        if self.device.link.as_ref().is_some_and(|link| link.is_own_user(reader)) {
            return Ok(());
        }
        let Some(mut record) = self.message_in(turn, id)? else { return Ok(()) };
        let by = self.shown(turn, reader).await?;
        let before = record.clone();
        let further = record.reach(&by, status, turn.now);
        if record != before {
            self.put_message(turn, &record);
        }
        if further {
            let data = json!({ "id": id.as_str(), "chat": record.to, "status": status, "recipient": by });
            let chat = record.to.clone();
            self.event(turn, "message.status", &chat, &data);
        }
        Ok(())
    }
}

/// How far the messages of a receipt have come, or the one of a `<user>` in it.
fn status_of(node: &Node) -> Option<MessageStatus> {
    match node.text("type").as_deref() {
        None | Some("inactive") => Some(MessageStatus::Delivered),
        Some("read") => Some(MessageStatus::Read),
        Some("played") => Some(MessageStatus::Played),
        _ => None,
    }
}
