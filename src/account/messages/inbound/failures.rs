//! What messages that cannot be decrypted may cost: each of them asks for a search, a retry receipt and an event.
//!
//! A sender has a budget of failures, which time gives back slowly and a decrypted message at once. Those whose identity we do not know
//! share another one, so that inventing senders gains nothing. Beyond it a message is tried sparingly, acknowledged, and counted.

use crate::base::bucket::{Bucket, Rate};
use crate::base::time::Monotonic;
use crate::wire::Jid;
use std::collections::HashMap;

/// Failures of a sender whose identity we know: a contact that is restored may fail with a long backlog.
const KNOWN: Rate = Rate { burst: 256, every_ms: 10_000 };
const STRANGER: Rate = Rate { burst: 16, every_ms: 60_000 };
const ALL_STRANGERS: Rate = Rate { burst: 256, every_ms: 1000 };
/// One-time prekeys in retry receipts of an account.
const FRESH_KEYS: Rate = Rate { burst: 64, every_ms: 10_000 };
/// The number of senders from which full buckets are forgotten.
const MANY_SENDERS: usize = 1024;

/// A sender, with what decides on its budget.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// By its canonical address.
    pub(super) user: Jid,
    /// We know an identity of one of its devices.
    pub(super) is_known: bool,
}

impl Sender {
    fn rate(&self) -> Rate {
        if self.is_known { KNOWN } else { STRANGER }
    }
}

#[derive(Debug, Default)]
pub(in crate::account::messages) struct Failures {
    senders: HashMap<Jid, Bucket>,
    strangers: Bucket,
    fresh_keys: Bucket,
}

impl Failures {
    /// True when no message has failed lately: then every sender has a budget.
    pub(super) fn is_clear(&self, now: Monotonic) -> bool {
        self.senders.is_empty() && self.strangers.is_full(now)
    }

    /// True when the sender may fail once more.
    pub(super) fn has(&self, sender: &Sender, now: Monotonic) -> bool {
        let own = self.senders.get(&sender.user).is_none_or(|bucket| bucket.has(sender.rate(), now));
        own && (sender.is_known || self.strangers.has(ALL_STRANGERS, now))
    }

    /// Takes one failure from the sender's budget; false when it is spent.
    pub(super) fn take(&mut self, sender: &Sender, now: Monotonic) -> bool {
        if !self.has(sender, now) {
            return false;
        }
        if self.senders.len() >= MANY_SENDERS {
            self.senders.retain(|_, bucket| !bucket.is_full(now));
        }
        if !sender.is_known {
            self.strangers.take(ALL_STRANGERS, now);
        }
        self.senders.entry(sender.user.clone()).or_default().take(sender.rate(), now)
    }

    /// A message of the sender was decrypted.
    pub(super) fn give(&mut self, user: &Jid, now: Monotonic) {
        if let Some(bucket) = self.senders.get_mut(user) {
            bucket.give(KNOWN);
            if bucket.is_full(now) {
                self.senders.remove(user);
            }
        }
    }

    /// Takes a one-time prekey for a retry receipt; false when they are rationed.
    pub(super) fn take_fresh_key(&mut self, now: Monotonic) -> bool {
        self.fresh_keys.take(FRESH_KEYS, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(number: u64, is_known: bool) -> Sender {
        Sender { user: Jid::pn(number.to_string()), is_known }
    }

    fn failed(failures: &mut Failures, sender: &Sender, at: u64) -> usize {
        (0..1000).filter(|_| failures.take(sender, Monotonic(at))).count()
    }

    #[test]
    fn a_stranger_has_less_than_a_known_sender_and_time_gives_it_back() {
        let mut failures = Failures::default();
        assert_eq!(failed(&mut failures, &sender(1, false), 0), 16);
        assert_eq!(failed(&mut failures, &sender(2, true), 0), 256);
        assert_eq!(failed(&mut failures, &sender(1, false), 120_000), 2);
        assert_eq!(failed(&mut failures, &sender(2, true), 120_000), 12);
    }

    #[test]
    fn invented_strangers_share_a_budget_and_known_senders_have_their_own() {
        let mut failures = Failures::default();
        let of_all: usize = (0..1000).map(|number| failed(&mut failures, &sender(number, false), 0)).sum();
        assert_eq!(of_all, 256);
        assert!(failures.senders.len() <= 256, "those who were refused leave nothing");
        assert_eq!(failed(&mut failures, &sender(5000, true), 0), 256);
    }

    #[test]
    fn a_decrypted_message_gives_a_failure_back() {
        let (mut failures, bob, now) = (Failures::default(), sender(1, true), Monotonic(0));
        assert_eq!(failed(&mut failures, &bob, 0), 256);
        assert!(!failures.has(&bob, now));
        failures.give(&bob.user, now);
        assert_eq!(failed(&mut failures, &bob, 0), 1);
        (0..256).for_each(|_| failures.give(&bob.user, now));
        assert!(failures.is_clear(now));
    }

    #[test]
    fn fresh_keys_are_rationed() {
        let mut failures = Failures::default();
        assert_eq!((0..1000).filter(|_| failures.take_fresh_key(Monotonic(0))).count(), 64);
    }
}
