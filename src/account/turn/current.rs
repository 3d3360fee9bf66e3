//! The turn under way.

use super::context::Context;
use super::counter::Counter;
use super::effect::Effect;
use super::idempotency::{IdempotencyRecord, Once};
use super::notice::Notice;
use super::reply::{Reply, ReplyTo};
use crate::account::children::asks::{Ask, Children, Job};
use crate::account::children::device_sync::DeviceSync;
use crate::account::children::machine::Machine;
use crate::account::children::prekeys::PreKeys;
use crate::account::children::sender_keys::SenderKeys;
use crate::account::children::session_cipher::SessionCipher;
use crate::account::codec;
use crate::account::error::{AccountError, ChildDown};
use crate::account::own_device::Linked;
use crate::base::time::{Moment, Monotonic, Timestamp};
use crate::storage::{ChangeSet, Changes, Kind, Owner, StorageError, kind};
use crate::wire::Node;
use serde::Serialize;
use std::sync::mpsc::sync_channel;

/// The turn of one input: its reads, writes, asks and notices.
pub(in crate::account) struct Turn<'a> {
    /// The system clock, for records.
    pub(in crate::account) now: Timestamp,
    /// The monotonic clock, for deadlines.
    pub(in crate::account) steady: Monotonic,
    pub(in crate::account) ctx: &'a mut Context,
    children: &'a mut dyn Children,
    pub(super) changes: Changes,
    effects: Vec<Effect>,
    notices: Vec<Notice>,
}

/// True for stanzas that the service answers. Acknowledgements and results need no answer.
fn wants_answer(node: &Node) -> bool {
    node.tag == "message" || node.tag == "iq" && (node.is("type", "get") || node.is("type", "set"))
}

impl<'a> Turn<'a> {
    pub(in crate::account) fn new(now: Moment, ctx: &'a mut Context, children: &'a mut dyn Children) -> Self {
        Self {
            now: now.wall,
            steady: now.steady,
            ctx,
            children,
            changes: Changes::default(),
            effects: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// The changes to commit, and the effects that follow.
    pub(in crate::account) fn finish(self) -> (Changes, Vec<Effect>) {
        (self.changes, self.effects)
    }

    /// True when the turn has changes or effects.
    pub(in crate::account) fn has_touched(&self) -> bool {
        !self.changes.is_empty() || !self.effects.is_empty() || !self.notices.is_empty()
    }

    /// Reads a record: this turn's writes first, then the overlay, then the store.
    pub(in crate::account) fn get<O>(&self, kind: Kind<O>, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let mut written = self.changes.writes.iter().rev();
        match written.find(|write| write.kind == kind.code() && write.key == key) {
            Some(write) => Ok(write.value.clone()),
            None => self.ctx.store.get(kind, key),
        }
    }

    pub(in crate::account) fn put<O: Owner>(
        &mut self,
        kind: Kind<O>,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) {
        let mut writes = ChangeSet::default();
        writes.put(kind, key, value);
        self.changes.absorb(writes);
    }

    pub(in crate::account) fn delete<O: Owner>(&mut self, kind: Kind<O>, key: impl Into<Vec<u8>>) {
        let mut writes = ChangeSet::default();
        writes.delete(kind, key);
        self.changes.absorb(writes);
    }

    /// Stages the record of the changed device.
    pub(in crate::account) fn put_device(&mut self) {
        let writes = self.ctx.device.to_writes();
        self.changes.absorb(writes);
    }

    pub(in crate::account) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Publishes the view before this turn's replies, so that a caller sees the state its command produced.
    pub(in crate::account) fn effect_first(&mut self, effect: Effect) {
        self.effects.insert(0, effect);
    }

    pub(in crate::account) fn count(&mut self, counter: Counter) {
        self.effects.push(Effect::Count(counter));
    }

    /// Writes a stanza on the current connection.
    pub(in crate::account) fn write(&mut self, node: Node) {
        if wants_answer(&node) {
            self.ctx.link.unanswered.get_or_insert(self.steady);
        }
        self.effects.push(Effect::Write(self.ctx.link.generation, Box::new(node)));
    }

    pub(in crate::account) fn next_iq_id(&mut self) -> String {
        self.ctx.link.next_iq_id()
    }

    /// `<ack>` for a stanza of the service (`wire-protocol.md` 1.8).
    pub(in crate::account) fn acknowledge(&mut self, node: &Node) {
        let echo = |key: &str| node.get(key).cloned();
        let own = self.own().filter(|_| node.tag == "message").map(|own| &own.jid);
        let kind = echo("type").filter(|_| !(node.tag == "notification" && node.find("identity").is_some()));
        let ack = Node::new("ack")
            .attr("class", node.tag.clone())
            .maybe("id", echo("id"))
            .maybe("to", echo("from"))
            .maybe("participant", echo("participant"))
            .maybe("recipient", echo("recipient"))
            .maybe("type", kind)
            .maybe("from", own);
        self.write(ack);
    }

    pub(in crate::account) fn announce(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    pub(in crate::account) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(in crate::account) fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    pub(in crate::account) fn own(&self) -> Option<&Linked> {
        self.ctx.own()
    }

    pub(in crate::account) fn is_own_user(&self, jid: &crate::wire::Jid) -> bool {
        self.own().is_some_and(|own| own.is_own_user(jid))
    }

    pub(in crate::account) fn is_online(&self) -> bool {
        self.ctx.link.online
    }

    /// Answers a command.
    pub(in crate::account) fn reply<T, E>(&mut self, to: &ReplyTo<T, E>, answer: Result<T, E>)
    where
        T: Serialize + Send + 'static,
        E: Send + 'static,
    {
        self.reply_about(to, None, answer);
    }

    /// Answers a command about a chat. Erasing the chat erases the stored answer.
    pub(in crate::account) fn reply_about<T, E>(&mut self, to: &ReplyTo<T, E>, chat: Option<&str>, answer: Result<T, E>)
    where
        T: Serialize + Send + 'static,
        E: Send + 'static,
    {
        if let Some(fingerprint) = self.ctx.unanswered.remove(&to.token()) {
            match answer.as_ref().ok().and_then(|answer| serde_json::to_value(answer).ok()) {
                Some(value) => {
                    let record = IdempotencyRecord::begun(&fingerprint, self.now).answered(chat, value);
                    self.put(kind::IDEMPOTENCY, fingerprint.request, codec::encode_json(&record));
                }
                // A refused request may be repeated under its key. Only one of an earlier turn has a row.
                None if self.ctx.store.get(kind::IDEMPOTENCY, &fingerprint.request).is_ok_and(|row| row.is_some()) => {
                    self.delete(kind::IDEMPOTENCY, fingerprint.request);
                }
                None => {}
            }
        }
        self.effects.push(Effect::Reply(to.token(), Reply::Answer(Box::new(answer))));
    }

    /// Begins a command under an `Idempotency-Key`. False when it is a repetition, which is answered here.
    pub(in crate::account) fn begin_once(&mut self, once: &Once) -> Result<bool, AccountError> {
        let fingerprint = once.fingerprint;
        if let Some(stored) = self.get(kind::IDEMPOTENCY, &fingerprint.request)? {
            let record = IdempotencyRecord::decode(&stored)?;
            let under_way = self.ctx.unanswered.values().any(|known| known.request == fingerprint.request);
            if let Some(reply) = record.reply(once, under_way, self.now) {
                self.effects.push(Effect::Reply(once.token, reply));
                return Ok(false);
            }
        }
        self.ctx.unanswered.insert(once.token, fingerprint);
        Ok(true)
    }

    /// Records a begun command that this turn did not answer.
    pub(in crate::account) fn suspend_once(&mut self, once: &Once) {
        if let Some(fingerprint) = self.ctx.unanswered.get(&once.token) {
            let record = IdempotencyRecord::begun(fingerprint, self.now);
            self.put(kind::IDEMPOTENCY, once.fingerprint.request, codec::encode_json(&record));
        }
    }

    /// Calls the session cipher and commits its writes with this turn.
    pub(in crate::account) async fn sessions<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut SessionCipher) -> Result<R, AccountError> + Send + 'static,
    ) -> Result<R, AccountError> {
        self.ask(Ask::Sessions, ask).await
    }

    /// Calls the sender keys and commits their writes with this turn.
    pub(in crate::account) async fn sender_keys<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut SenderKeys) -> Result<R, AccountError> + Send + 'static,
    ) -> Result<R, AccountError> {
        self.ask(Ask::SenderKeys, ask).await
    }

    /// Calls the device sync and commits its writes with this turn.
    pub(in crate::account) async fn devices<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut DeviceSync) -> Result<R, AccountError> + Send + 'static,
    ) -> Result<R, AccountError> {
        self.ask(Ask::Devices, ask).await
    }

    /// Calls the prekeys and commits their writes with this turn.
    pub(in crate::account) async fn prekeys<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut PreKeys) -> Result<R, AccountError> + Send + 'static,
    ) -> Result<R, AccountError> {
        self.ask(Ask::PreKeys, ask).await
    }

    /// The children drop what they hold in memory. At the beginning of a turn alone.
    pub(in crate::account) async fn rest(&mut self) -> Result<(), AccountError> {
        self.ctx.store.rest();
        self.rest_one(Ask::Sessions).await?;
        self.rest_one(Ask::SenderKeys).await?;
        self.rest_one(Ask::Devices).await
    }

    async fn rest_one<M: Machine>(&mut self, wrap: fn(Job<M>) -> Ask) -> Result<(), AccountError> {
        let rest = |machine: &mut M| {
            machine.rest();
            Ok(())
        };
        self.ask(wrap, rest).await
    }

    async fn ask<M: Machine, R: Send + 'static>(
        &mut self,
        wrap: fn(Job<M>) -> Ask,
        ask: impl FnOnce(&mut M) -> Result<R, AccountError> + Send + 'static,
    ) -> Result<R, AccountError> {
        let (answer, answered) = sync_channel(1);
        let job = move |machine: &mut M| {
            let result = ask(machine);
            // The receiver is gone when the tree goes down; then the answer is void.
            let _ = answer.send((result, machine.take_writes()));
        };
        self.children.ask(wrap(Box::new(job))).await?;
        let (result, writes) = answered.try_recv().map_err(|_| ChildDown { child: M::NAME })?;
        let value = result?;
        self.changes.absorb(writes);
        Ok(value)
    }
}
