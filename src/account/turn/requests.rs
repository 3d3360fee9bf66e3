//! Requests to the service (`<iq>`) that wait for their response, one table for each feature. Ids have one form for all features.

use super::current::Turn;
use crate::base::time::Monotonic;
use crate::wire::{Jid, Node};
use std::collections::HashMap;
use std::time::Duration;

/// How long a response may take.
const IQ_TIMEOUT: Duration = Duration::from_secs(75);

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub enum Response<'a> {
    Result(&'a Node),
    /// `<error code>`; 0 without a code.
    Refused(u64),
    /// Timed out, or malformed.
    Missing,
}

/// True for a temporary refusal: a fault of the service, or too many requests.
pub(in crate::account) const fn may_pass(code: u64) -> bool {
    code >= 500 || code == 429
}

/// An `<iq>` to the service, still without an id.
pub(in crate::account) fn iq(xmlns: &'static str, kind: &'static str) -> Node {
    Node::new("iq").attr("xmlns", xmlns).attr("type", kind).attr("to", Jid::service())
}

/// Requests of one feature, by id.
#[derive(Debug)]
pub struct Requests<R> {
    waiting: HashMap<String, (R, Monotonic)>,
}

impl<R> Default for Requests<R> {
    fn default() -> Self {
        Self { waiting: HashMap::new() }
    }
}

impl<R> Requests<R> {
    /// Writes an `<iq>` under a new id.
    pub(in crate::account) fn send(&mut self, turn: &mut Turn<'_>, request: R, iq: Node) {
        let id = turn.next_iq_id();
        self.waiting.insert(id.clone(), (request, turn.steady.plus(IQ_TIMEOUT)));
        let mut iq = iq;
        iq.attrs.insert(0, ("id".into(), id.into()));
        turn.write(iq);
    }

    pub(in crate::account) fn any(&self, wanted: impl Fn(&R) -> bool) -> bool {
        self.waiting.values().any(|(waiting, _)| wanted(waiting))
    }

    /// Removes the request of a response.
    pub(in crate::account) fn take(&mut self, id: &str) -> Option<R> {
        self.waiting.remove(id).map(|(request, _)| request)
    }

    /// Removes an expired request.
    pub(in crate::account) fn take_expired(&mut self, now: Monotonic) -> Option<R> {
        self.waiting.extract_if(|_, (_, deadline)| *deadline <= now).next().map(|(_, (request, _))| request)
    }

    /// Removes all requests: their connection is closed.
    pub(in crate::account) fn drain(&mut self) -> Vec<R> {
        self.waiting.drain().map(|(_, (request, _))| request).collect()
    }

    pub(in crate::account) fn deadline(&self) -> Option<Monotonic> {
        self.waiting.values().map(|(_, deadline)| *deadline).min()
    }
}
