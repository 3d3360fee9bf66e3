//! Rate limit of resends in a chat: retry receipts beyond it are refused (`wire-protocol.md` 1.14).

use crate::base::bucket::{Bucket, Rate};
use crate::base::time::Monotonic;
use crate::wire::Jid;
use std::collections::HashMap;

const PERSON: Rate = Rate { burst: 100, every_ms: 1000 };
/// In a group every member may send retry receipts.
const GROUP: Rate = Rate { burst: 4096, every_ms: 50 };
/// The number of chats from which full buckets are forgotten.
const MANY_CHATS: usize = 4096;

/// Buckets by chat. Messages of ours alone are resent, so chats that we never wrote to have none.
#[derive(Debug, Default)]
pub(super) struct Budget(HashMap<Jid, Bucket>);

impl Budget {
    /// Takes one resend from the chat's bucket; false when it is empty.
    pub(super) fn take(&mut self, chat: &Jid, now: Monotonic) -> bool {
        if self.0.len() >= MANY_CHATS {
            self.0.retain(|_, bucket| !bucket.is_full(now));
        }
        let rate = if chat.is_shared() { GROUP } else { PERSON };
        self.0.entry(chat.clone()).or_default().take(rate, now)
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
