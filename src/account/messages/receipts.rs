//! Receipts, sent and received (`wire-protocol.md` 1.8).
//!
//! A receipt is also the acknowledgement of a message. Those of the backlog are aggregated until the batch is complete. Receipts lost
//! with a connection are sent again when the service delivers the messages again.

use super::inbound::envelope::Envelope;
use super::record::{self, MessageStatus};
use super::status::StatusChanged;
use super::{recipients, sent};
use crate::account::codec;
use crate::account::directory::addresses::display_address;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::base::ids::MessageId;
use crate::wire::{Jid, Node};

/// The most messages of one receipt.
const MAX_TOGETHER: usize = 256;
/// The most pending receipts.
const MAX_PENDING: usize = 64;

/// The address and type of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    to: Jid,
    participant: Option<Jid>,
    kind: Option<&'static str>,
    recipient: Option<Jid>,
}

/// Receipts for messages of the backlog, in the order of the first message of each.
#[derive(Debug, Default)]
pub(super) struct PendingReceipts(Vec<(Address, Vec<MessageId>)>);

impl PendingReceipts {
    /// Adds a message. Returns the receipt when it is full.
    fn add(&mut self, address: Address, id: MessageId) -> Option<Node> {
        let at = match self.0.iter().position(|(known, _)| *known == address) {
            Some(at) => at,
            None => {
                self.0.push((address, Vec::new()));
                self.0.len() - 1
            }
        };
        self.0[at].1.push(id);
        if self.0[at].1.len() < MAX_TOGETHER && self.0.len() <= MAX_PENDING {
            return None;
        }
        let (address, ids) = self.0.remove(if self.0.len() > MAX_PENDING { 0 } else { at });
        receipt(address, ids)
    }

    /// Confirms a message: by a receipt, or by an acknowledgement alone for a status.
    pub(super) fn confirm(
        &mut self,
        turn: &mut Turn<'_>,
        node: &Node,
        envelope: &Envelope,
        extra: Option<&'static str>,
    ) {
        if envelope.chat == Jid::status() {
            return turn.acknowledge(node);
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
            let due = if envelope.offline && turn.ctx.link.backlog {
                self.add(address, envelope.id.clone())
            } else {
                receipt(address, vec![envelope.id.clone()])
            };
            if let Some(due) = due {
                turn.write(due);
            }
        }
    }

    /// Writes all pending receipts.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_>) {
        for due in std::mem::take(&mut self.0).into_iter().filter_map(|(address, ids)| receipt(address, ids)) {
            turn.write(due);
        }
    }

    /// The connection is closed: pending receipts are void.
    pub(super) fn disconnected(&mut self) {
        self.0.clear();
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

/// One status change of a receipt: of one message, by one recipient.
struct Change {
    id: MessageId,
    reader: Jid,
    status: MessageStatus,
}

fn read(node: &Node) -> Result<Vec<Change>, AccountError> {
    let from = node.require_jid("from")?;
    let reader = node.jid("participant").unwrap_or(from).bare();
    // The service aggregates receipts of several members while we are offline.
    let of_many: Vec<&Node> = node.nodes().iter().filter(|child| child.tag == "participants").collect();
    let mut changes = Vec::new();
    if let Some(status) = status_of(node).filter(|_| of_many.is_empty()) {
        let listed = node.find("list").map(Node::nodes).unwrap_or_default();
        let ids = listed.iter().filter_map(|item| item.text("id")).chain(node.text("id"));
        let ids = ids.map(|id| MessageId::new(id.into_owned()));
        changes.extend(ids.map(|id| Change { id, reader: reader.clone(), status }));
    }
    for of_message in of_many {
        let Some(id) = of_message.text("key").map(|id| MessageId::new(id.into_owned())) else { continue };
        for user in of_message.nodes().iter().filter(|child| child.tag == "user") {
            if let (Some(status), Some(reader)) = (status_of(user), user.jid("jid")) {
                changes.push(Change { id: id.clone(), reader: reader.bare(), status });
            }
        }
    }
    Ok(changes)
}

/// Applies a receipt for messages of ours. It counts from those that a message was sent to.
pub(super) async fn on_receipt(turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
    for Change { id, reader, status } in read(node)? {
        if turn.is_own_user(&reader) {
            continue;
        }
        let Some(mut record) = record::of(turn, &id)? else { continue };
        let chat = codec::jid(&record.to, "message")?;
        let listed = if chat == Jid::status() { sent::of(turn, &id)?.map(|sent| sent.recipients) } else { None };
        if !recipients::is_one(turn, &chat, &listed.unwrap_or_default(), &reader).await? {
            tracing::debug!(account = %turn.ctx.id, reader = %reader.redacted(), "receipt of no recipient skipped");
            continue;
        }
        let by = display_address(turn, &reader).await?;
        let before = record.clone();
        let rises = record.reach(&by, status, turn.now);
        if record != before {
            record::put(turn, &record);
        }
        if rises {
            turn.event(&StatusChanged::by(&record, status, &by));
        }
    }
    Ok(())
}

/// The status in a receipt or in its `<user>`.
fn status_of(node: &Node) -> Option<MessageStatus> {
    match node.text("type").as_deref() {
        None | Some("inactive") => Some(MessageStatus::Delivered),
        Some("read") => Some(MessageStatus::Read),
        Some("played") => Some(MessageStatus::Played),
        _ => None,
    }
}
