//! A receiving chain with its skipped message keys: late, early and duplicate messages
//! (Double Ratchet section 2.6). Sessions and sender keys share it: their chains step alike.
//!
//! Invariant: nothing changes unless the message decrypts.

use super::SignalError;
use super::chain_key::ChainKey;
use super::limits::{MAX_FORWARD_JUMPS, MAX_MESSAGE_KEYS, MESSAGE_KEY_PRUNE_THRESHOLD, STRAY_JUMP};
use super::message_key::MessageSeed;
use std::collections::{BTreeSet, VecDeque};

/// How far a message may lie ahead of its chain: each step is work that its sender asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JumpLimit {
    /// In the current state of a session, in a state that holds the message's ratchet key, and in a group.
    pub ahead: u32,
    /// In an archived state that does not hold the message's ratchet key; `None`: none of them is tried.
    pub stray: Option<u32>,
}

impl Default for JumpLimit {
    fn default() -> Self {
        Self::new(MAX_FORWARD_JUMPS)
    }
}

impl JumpLimit {
    /// This many steps, and [`STRAY_JUMP`] in an archived state.
    pub const fn new(ahead: u32) -> Self {
        Self { ahead, stray: Some(STRAY_JUMP) }
    }

    /// The limit for a peer whose messages have failed too often.
    #[must_use]
    pub fn sparing(self) -> Self {
        Self { ahead: self.ahead.min(STRAY_JUMP), stray: None }
    }

    /// The limit in an archived state that does not hold the message's ratchet key.
    pub(super) fn of_strays(self) -> Option<Self> {
        self.stray.map(|stray| Self { ahead: self.ahead.min(stray), ..self })
    }

    /// The jump of a message from the chain's index.
    pub(super) fn check(self, counter: u32, index: u32) -> Result<u32, SignalError> {
        let (jump, limit) = (counter.saturating_sub(index), self.ahead);
        if jump > limit { Err(SignalError::TooFarInFuture { counter, jump, limit }) } else { Ok(jump) }
    }
}

/// Skipped keys are stored in blocks of this many counters: one that is used up, or passed over, rewrites one block.
pub(super) const KEYS_PER_BLOCK: u32 = 64;

#[derive(Clone, Debug)]
pub(super) struct KeyWindow {
    pub(super) chain: ChainKey,
    /// By counter, ascending.
    pub(super) skipped: VecDeque<(u32, MessageSeed)>,
    /// Blocks that differ from what is stored.
    touched: BTreeSet<u32>,
    /// Blocks that are stored.
    stored: BTreeSet<u32>,
}

impl KeyWindow {
    pub(super) fn new(chain: ChainKey) -> Self {
        Self { chain, skipped: VecDeque::new(), touched: BTreeSet::new(), stored: BTreeSet::new() }
    }

    pub(super) fn skipped_keys(&self) -> usize {
        self.skipped.len()
    }

    /// The numbers of the blocks that are stored.
    pub(super) fn stored(&self) -> impl Iterator<Item = u32> + '_ {
        self.stored.iter().copied()
    }

    /// Takes the blocks that differ from the stored ones, each with its keys; an empty block is to be deleted.
    pub(super) fn take_touched(&mut self) -> Vec<(u32, Vec<(u32, MessageSeed)>)> {
        let touched = std::mem::take(&mut self.touched);
        let mut blocks = Vec::with_capacity(touched.len());
        for block in touched {
            let keys = self.block(block);
            let kept = !keys.is_empty();
            if kept || self.stored.contains(&block) {
                blocks.push((block, keys));
            }
            if kept {
                self.stored.insert(block);
            } else {
                self.stored.remove(&block);
            }
        }
        blocks
    }

    /// All blocks, with their keys.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u32, Vec<(u32, MessageSeed)>)> + '_ {
        let numbers: BTreeSet<u32> = self.skipped.iter().map(|(counter, _)| counter / KEYS_PER_BLOCK).collect();
        numbers.into_iter().map(|number| (number, self.block(number)))
    }

    fn block(&self, number: u32) -> Vec<(u32, MessageSeed)> {
        let start = self.skipped.partition_point(|(counter, _)| counter / KEYS_PER_BLOCK < number);
        self.skipped.range(start..).take_while(|(counter, _)| counter / KEYS_PER_BLOCK == number).cloned().collect()
    }

    /// Restores a stored block. Blocks come in ascending order; false when the keys do not belong there.
    #[must_use]
    pub(super) fn restore_block(&mut self, number: u32, keys: Vec<(u32, MessageSeed)>) -> bool {
        for (counter, seed) in keys {
            let ascending = self.skipped.back().is_none_or(|(last, _)| *last < counter);
            if counter / KEYS_PER_BLOCK != number || !ascending || counter >= self.chain.index() {
                return false;
            }
            self.skipped.push_back((counter, seed));
        }
        self.stored.insert(number)
    }

    /// Decrypts message `counter` with its seed. On success its key is deleted, and the keys of skipped messages before it are
    /// kept: 2,000 of them, pruned in steps of 50.
    pub(super) fn open<T>(
        &mut self,
        counter: u32,
        limit: JumpLimit,
        open: impl FnOnce(&MessageSeed) -> Result<T, SignalError>,
    ) -> Result<T, SignalError> {
        if counter < self.chain.index() {
            let duplicate = SignalError::Duplicate { chain_index: self.chain.index(), counter };
            let place = self.skipped.binary_search_by_key(&counter, |(index, _)| *index).map_err(|_| duplicate)?;
            let opened = open(&self.skipped[place].1)?;
            self.skipped.remove(place);
            self.touched.insert(counter / KEYS_PER_BLOCK);
            return Ok(opened);
        }
        let jump = limit.check(counter, self.chain.index())? as usize;
        let mut chain = self.chain.clone();
        // Only the newest keys are kept: the seeds before them are not derived.
        for _ in MAX_MESSAGE_KEYS..jump {
            chain = chain.skip()?;
        }
        let mut passed = VecDeque::with_capacity(jump.min(MAX_MESSAGE_KEYS));
        while chain.index() < counter {
            let (seed, next) = chain.step()?;
            passed.push_back((chain.index(), seed));
            chain = next;
        }
        let (seed, next) = chain.step()?;
        let opened = open(&seed)?;
        self.chain = next;
        if let (Some((first, _)), Some((last, _))) = (passed.front(), passed.back()) {
            self.touched.extend(first / KEYS_PER_BLOCK..=last / KEYS_PER_BLOCK);
        }
        self.skipped.append(&mut passed);
        if self.skipped.len() > MAX_MESSAGE_KEYS + MESSAGE_KEY_PRUNE_THRESHOLD {
            let pruned = self.skipped.drain(..self.skipped.len() - MAX_MESSAGE_KEYS);
            self.touched.extend(pruned.map(|(counter, _)| counter / KEYS_PER_BLOCK));
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    fn window() -> KeyWindow {
        KeyWindow::new(ChainKey::message(Secret::new([7; 32]), 0))
    }

    fn seed_of(window: &mut KeyWindow, counter: u32) -> Result<[u8; 32], SignalError> {
        window.open(counter, JumpLimit::default(), |seed| Ok(*seed.expose()))
    }

    #[test]
    fn a_late_message_gets_its_skipped_key() {
        let (mut in_order, mut late) = (window(), window());
        let expected: Vec<_> = (0..5).map(|n| seed_of(&mut in_order, n).unwrap()).collect();
        for n in [4, 0, 3, 1, 2] {
            assert_eq!(seed_of(&mut late, n).unwrap(), expected[n as usize]);
        }
        assert!(matches!(seed_of(&mut late, 3), Err(SignalError::Duplicate { chain_index: 5, counter: 3 })));
    }

    #[test]
    fn a_message_that_does_not_decrypt_changes_nothing() {
        let mut window = window();
        seed_of(&mut window, 3).unwrap();
        for counter in [1, 9] {
            let refused = window.open(counter, JumpLimit::default(), |_| Err::<(), _>(SignalError::BadCiphertext));
            assert_eq!(refused, Err(SignalError::BadCiphertext));
            assert_eq!((window.chain.index(), window.skipped.len()), (4, 3));
        }
    }

    #[test]
    fn only_changed_blocks_are_taken_and_they_restore_the_window() {
        let mut window = window();
        seed_of(&mut window, 3 * KEYS_PER_BLOCK).unwrap();
        let numbers = |window: &mut KeyWindow| window.take_touched().into_iter().map(|(number, _)| number).collect();
        let all: Vec<u32> = numbers(&mut window);
        assert_eq!(all, [0, 1, 2]);
        seed_of(&mut window, KEYS_PER_BLOCK + 1).unwrap();
        let one: Vec<u32> = numbers(&mut window);
        assert_eq!(one, [1]);
        seed_of(&mut window, 6 * KEYS_PER_BLOCK - 1).unwrap();
        let passed: Vec<u32> = numbers(&mut window);
        assert_eq!(passed, [3, 4, 5], "a jump touches the blocks that it passes, and no other");
        for counter in 0..KEYS_PER_BLOCK {
            seed_of(&mut window, counter).unwrap();
        }
        assert_eq!(window.take_touched(), [(0, Vec::new())], "an empty block is deleted");

        let mut restored = KeyWindow::new(window.chain.clone());
        assert!(window.blocks().all(|(number, keys)| restored.restore_block(number, keys)));
        assert_eq!(restored.skipped, window.skipped);
    }

    #[test]
    fn keys_of_another_block_or_of_the_future_are_not_restored() {
        let mut window = window();
        seed_of(&mut window, 3).unwrap();
        let key = |counter| vec![(counter, Secret::new([1; 32]))];
        assert!(!window.clone().restore_block(1, key(3)));
        assert!(!window.clone().restore_block(0, key(4)));
        for counter in [1, 2] {
            assert!(!window.clone().restore_block(0, key(counter)), "{counter} is not above the last");
        }
    }

    #[test]
    fn the_jump_limit_is_inclusive() {
        let open = |counter| window().open(counter, JumpLimit::new(10), |_| Ok(()));
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
        window.take_touched();
        seed_of(&mut window, limit + 3 * step).unwrap();
        assert_eq!(window.skipped.len(), MAX_MESSAGE_KEYS);
        let oldest = window.skipped.front().unwrap().0 / KEYS_PER_BLOCK;
        let changed: Vec<u32> = window.take_touched().into_iter().map(|(number, _)| number).collect();
        assert!(
            changed[0] <= oldest && changed.last() == Some(&((limit + 3 * step - 1) / KEYS_PER_BLOCK)),
            "{changed:?}"
        );
    }
}
