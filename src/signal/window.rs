//! A receiving chain and the keys of the messages it has passed over: what messages that come late, early or twice meet
//! (Double Ratchet section 2.6). Sessions and sender keys share it: their chains step alike.
//!
//! Invariant: nothing changes unless the message opens.

use super::SignalError;
use super::chain_key::ChainKey;
use super::limits::{MAX_MESSAGE_KEYS, MESSAGE_KEY_PRUNE_THRESHOLD};
use super::message_key::MessageSeed;
use std::collections::VecDeque;

/// How far a message may lie ahead of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JumpLimit(pub u32);

impl Default for JumpLimit {
    fn default() -> Self {
        Self(super::limits::MAX_FORWARD_JUMPS)
    }
}

#[derive(Clone, Debug)]
pub(super) struct KeyWindow {
    pub(super) chain: ChainKey,
    /// By counter, ascending.
    pub(super) skipped: VecDeque<(u32, MessageSeed)>,
}

impl KeyWindow {
    pub(super) fn new(chain: ChainKey) -> Self {
        Self { chain, skipped: VecDeque::new() }
    }

    /// Opens message `counter` with its seed. When that succeeds its key is gone, and those of the messages before it are
    /// kept: 2,000 of them, pruned in steps of 50.
    pub(super) fn open<T>(
        &mut self,
        counter: u32,
        limit: JumpLimit,
        open: impl FnOnce(&MessageSeed) -> Result<T, SignalError>,
    ) -> Result<T, SignalError> {
        let Some(jump) = counter.checked_sub(self.chain.index()) else {
            let duplicate = SignalError::Duplicate { chain_index: self.chain.index(), counter };
            let place = self.skipped.binary_search_by_key(&counter, |(index, _)| *index).map_err(|_| duplicate)?;
            let opened = open(&self.skipped[place].1)?;
            self.skipped.remove(place);
            return Ok(opened);
        };
        if jump > limit.0 {
            return Err(SignalError::TooFarInFuture { counter, jump, limit: limit.0 });
        }
        let mut chain = self.chain.clone();
        let mut passed = VecDeque::new();
        while chain.index() < counter {
            let (seed, next) = chain.step()?;
            passed.push_back((chain.index(), seed));
            if passed.len() > MAX_MESSAGE_KEYS {
                passed.pop_front();
            }
            chain = next;
        }
        let (seed, next) = chain.step()?;
        let opened = open(&seed)?;
        self.chain = next;
        self.skipped.append(&mut passed);
        if self.skipped.len() > MAX_MESSAGE_KEYS + MESSAGE_KEY_PRUNE_THRESHOLD {
            self.skipped.drain(..self.skipped.len() - MAX_MESSAGE_KEYS);
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    fn window() -> KeyWindow {
        KeyWindow::new(ChainKey::new(Secret::new([7; 32]), 0))
    }

    fn seed_of(window: &mut KeyWindow, counter: u32) -> Result<[u8; 32], SignalError> {
        window.open(counter, JumpLimit::default(), |seed| Ok(*seed.expose()))
    }

    #[test]
    fn a_late_message_gets_the_key_it_would_have_had() {
        let (mut in_order, mut late) = (window(), window());
        let expected: Vec<_> = (0..5).map(|n| seed_of(&mut in_order, n).unwrap()).collect();
        for n in [4, 0, 3, 1, 2] {
            assert_eq!(seed_of(&mut late, n).unwrap(), expected[n as usize]);
        }
        assert!(matches!(seed_of(&mut late, 3), Err(SignalError::Duplicate { chain_index: 5, counter: 3 })));
    }

    #[test]
    fn what_does_not_open_changes_nothing() {
        let mut window = window();
        seed_of(&mut window, 3).unwrap();
        for counter in [1, 9] {
            let refused = window.open(counter, JumpLimit::default(), |_| Err::<(), _>(SignalError::BadCiphertext));
            assert_eq!(refused, Err(SignalError::BadCiphertext));
            assert_eq!((window.chain.index(), window.skipped.len()), (4, 3));
        }
    }

    #[test]
    fn the_limit_is_inclusive() {
        let open = |counter| window().open(counter, JumpLimit(10), |_| Ok(()));
        assert_eq!(open(10), Ok(()));
        assert_eq!(open(11), Err(SignalError::TooFarInFuture { counter: 11, jump: 11, limit: 10 }));
    }

    #[test]
    fn the_oldest_keys_are_dropped_in_steps() {
        let mut window = window();
        let limit = u32::try_from(MAX_MESSAGE_KEYS).unwrap();
        let step = u32::try_from(MESSAGE_KEY_PRUNE_THRESHOLD).unwrap();
        seed_of(&mut window, limit + step - 1).unwrap();
        assert_eq!(window.skipped.len(), MAX_MESSAGE_KEYS, "one jump keeps the newest only");
        for extra in 1..=step / 2 {
            seed_of(&mut window, limit + step - 1 + 2 * extra).unwrap();
        }
        assert_eq!(window.skipped.len(), MAX_MESSAGE_KEYS + MESSAGE_KEY_PRUNE_THRESHOLD / 2);
        seed_of(&mut window, limit + 3 * step).unwrap();
        assert_eq!(window.skipped.len(), MAX_MESSAGE_KEYS);
    }
}
