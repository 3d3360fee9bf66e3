//! Rate limit of resends in a chat: retry receipts beyond it are refused (`wire-protocol.md` 1.14).

use crate::base::time::Monotonic;
use crate::wire::Jid;
use std::collections::HashMap;

/// Resends at once, and the milliseconds until one more is allowed. In a group every member may send retry receipts.
const PERSON: (u64, u64) = (100, 1000);
const GROUP: (u64, u64) = (4096, 50);
/// The most chats with a bucket.
const MAX_CHATS: usize = 4096;

/// Buckets by chat, each as the time when it is full again.
#[derive(Debug, Default)]
pub(super) struct Budget {
    full_at: HashMap<Jid, Monotonic>,
}

impl Budget {
    /// Takes one resend from the chat's bucket; false when it is empty.
    pub(super) fn take(&mut self, chat: &Jid, now: Monotonic) -> bool {
        let (burst, every_ms) = if chat.is_shared() { GROUP } else { PERSON };
        if self.full_at.len() >= MAX_CHATS {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        let full_at = self.full_at.entry(chat.clone()).or_default();
        let next = Monotonic((*full_at).max(now).0 + every_ms);
        let fits = next.0 - now.0 <= burst * every_ms;
        if fits {
            *full_at = next;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_has_a_burst_and_then_one_a_second_and_others_are_not_concerned() {
        let (mut budget, bob, carol) = (Budget::default(), Jid::pn("15550002222"), Jid::pn("15550003333"));
        let mut taken = |chat: &Jid, at: u64| (0..1000).filter(|_| budget.take(chat, Monotonic(at))).count();
        assert_eq!(taken(&bob, 5000), 100);
        assert_eq!(taken(&carol, 5000), 100);
        assert_eq!(taken(&bob, 8000), 3);
        assert_eq!(taken(&bob, 1_000_000), 100);
    }
}
