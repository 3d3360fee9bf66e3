//! Callers that wait for the reply to their command.

use crate::account::Reply;
use std::collections::HashMap;
use tokio::sync::oneshot;

#[derive(Default)]
pub(super) struct Replies {
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
    last: u64,
}

impl Replies {
    /// Returns the token that the reply will carry.
    pub(super) fn register(&mut self, reply: oneshot::Sender<Reply>) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, reply);
        self.last
    }

    pub(super) fn answer(&mut self, token: u64, reply: Reply) {
        if let Some(waiting) = self.waiting.remove(&token) {
            // A caller that has gone needs no reply.
            let _ = waiting.send(reply);
        }
    }

    /// True when too many callers wait. Those that have gone do not count.
    pub(super) fn is_full(&mut self, limit: usize) -> bool {
        if self.waiting.len() >= limit {
            self.waiting.retain(|_, waiting| !waiting.is_closed());
        }
        self.waiting.len() >= limit
    }

    /// Drops every caller's channel: they see their request dropped.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
