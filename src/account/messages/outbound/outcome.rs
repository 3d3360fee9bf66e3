//! What becomes of a message: acknowledged, refused, given up (`wire-protocol.md` 1.8).
//!
//! Invariant: a message counts as sent only by an acknowledgement without an error.

use crate::account::error::AccountError;
use crate::account::messages::inbound::failure_data;
use crate::account::messages::outbound::queue::{Outgoing, Stage};
use crate::account::messages::record::MessageStatus;
use crate::account::router::{Router, Turn};
use crate::account::{Children, Incident};
use crate::base::ids::MessageId;
use crate::storage::{ChangeSet, kind, owner};
use crate::wire::phash::participant_hash;
use crate::wire::{Jid, Node};
use serde_json::json;

impl Router {
    /// `<ack class=message>`: the service has the message, or refuses it.
    pub(in crate::account) async fn on_ack<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        if !node.is("class", "message") {
            return Ok(());
        }
        self.last_ack = Some(turn.steady);
        self.hears(turn);
        let id = node.require_text("id")?;
        let found = self.outbox.entries.iter().find(|(_, entry)| entry.id.as_str() == id && is_answered(entry, node));
        let Some((seq, id, again)) = found.map(|(seq, entry)| (*seq, entry.id.clone(), entry.again_to.is_some()))
        else {
            return Ok(());
        };
        if again {
            self.finish(turn, seq);
            return Ok(());
        }
        if let Some(code) = node.text("error") {
            turn.count(Incident::MessageRefused);
            let (code, meaning) = (format!("service_{code}"), refusal_meaning(&code));
            self.group_of_changed(turn, seq)?;
            return self.fail(turn, seq, &id, &code, meaning);
        }
        self.key_delivered(turn, seq).await?;
        if let Some(phash) = node.text("phash") {
            self.check_reached(turn, seq, &phash).await?;
        }
        if let Some(to) = self.outbox.entries.get(&seq).map(|entry| entry.to.clone()).filter(Jid::is_user) {
            self.give_token(turn, &to).await?;
        }
        self.finish(turn, seq);
        if let Some(mut record) = self.message_in(turn, &id)? {
            if record.status < MessageStatus::Sent {
                record.status = MessageStatus::Sent;
            }
            self.put_message(turn, &record);
            let chat = record.to.clone();
            let data = json!({ "id": id.as_str(), "chat": chat, "status": MessageStatus::Sent });
            self.event(turn, "message.status", &chat, &data);
        }
        Ok(())
    }

    /// The service names the devices that the message should have gone to, by their hash: when it went to others, what we know of
    /// them is old, and asked for anew with the next message.
    async fn check_reached<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
        phash: &str,
    ) -> Result<(), AccountError> {
        let Some(entry) = self.outbox.entries.get(&seq).filter(|entry| entry.to != Jid::status()) else {
            return Ok(());
        };
        // Of a status the stanza does not tell who was reached.
        let Stage::Sealed { stanza, .. } = &entry.stage else { return Ok(()) };
        let ours = match stanza.text("phash") {
            Some(ours) => ours.into_owned(),
            None => {
                let sent = stanza.find("participants").map(Node::nodes).unwrap_or_default();
                let sent: Vec<Jid> = sent.iter().filter_map(|target| target.jid("jid")).collect();
                participant_hash(&sent)
            }
        };
        if ours == phash {
            return Ok(());
        }
        let to = entry.to.clone();
        tracing::debug!(account = %self.id, to = %to.redacted(), "the service knows other devices");
        let users: Vec<Jid> = match self.group(&to)? {
            Some(meta) => meta.members.into_iter().map(|member| member.jid).collect(),
            None => vec![to, self.own_pn().bare()],
        };
        self.group_of_changed(turn, seq)?;
        for user in users {
            self.forget_devices(turn, user).await?;
        }
        Ok(())
    }

    /// The device is logged out for good: what waits has failed.
    pub(in crate::account) fn give_up_queue<C>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        let waiting: Vec<_> = self.outbox.entries.iter().map(|(seq, entry)| (*seq, entry.id.clone())).collect();
        for (seq, id) in waiting {
            self.fail(turn, seq, &id, "logged_out", "the account was logged out before the message could be sent")?;
        }
        Ok(())
    }

    pub(in crate::account) fn fail<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
        id: &MessageId,
        code: &str,
        meaning: &str,
    ) -> Result<(), AccountError> {
        let again = self.outbox.entries.get(&seq).is_some_and(|entry| entry.again_to.is_some());
        self.finish(turn, seq);
        let Some(mut record) = self.message_in(turn, id)?.filter(|_| !again) else { return Ok(()) };
        record.status = MessageStatus::Failed;
        record.failure = Some((code.to_owned(), meaning.to_owned()));
        self.put_message(turn, &record);
        let chat = record.to.clone();
        self.event(turn, "message.status", &chat, &failure_data(id, &chat, code, meaning));
        Ok(())
    }

    fn finish<C>(&mut self, turn: &mut Turn<'_, C>, seq: u64) {
        self.outbox.entries.remove(&seq);
        let mut writes = ChangeSet::<owner::Router>::default();
        writes.delete(kind::OUTBOX, seq.to_be_bytes());
        turn.absorb(writes);
    }
}

/// Whether an acknowledgement with the entry's id is for it: one that goes to a device again is answered by that device's name.
fn is_answered(entry: &Outgoing, ack: &Node) -> bool {
    let to_device = ack.jid("participant").or_else(|| ack.jid("from"));
    entry.again_to.is_none() || to_device.is_none() || entry.again_to == to_device
}

/// What an error in the service's acknowledgement means (`wire-protocol.md` 1.8).
fn refusal_meaning(code: &str) -> &'static str {
    match code {
        "400" => "the service refused the addressing of the message",
        "404" => "the recipient is unknown to the service",
        "421" => "the group's addressing has changed",
        "463" => "the service refuses a first message to this contact for now",
        "475" => "the account may not begin more new chats for now",
        "479" => "the service found the stanza invalid",
        "503" => "the service is unavailable",
        _ => "the service refused the message",
    }
}
