//! The stored form of a session, in parts: a small head with the current state, which every message rewrites; each archived
//! state by itself, and skipped keys as seeds in blocks, both rewritten only when they change (`architecture.md`, "Storage").
//!
//! Each part is a format version byte, then a protobuf with the field numbers of `message-fields.txt`; fields
//! that are not in it have numbers from 100 on. Invariant: [`Session::take_changes`] yields exactly what the stored parts lack.

use super::SignalError;
use super::fields::{put_message, put_packed, put_uint, read, read_packed};
use super::message_key::MessageSeed;
use super::proto::KeyBlock;
use super::ratchet::{ReceiverChain, SessionState};
use super::session::Session;
use super::state_record::{corrupt, put_state, read_state};
use crate::base::secret::Secret;
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The format of session records that this build writes and reads.
pub const SESSION_FORMAT: u8 = 2;

/// Which part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Head,
    /// An archived state, by its number.
    Archived(u32),
    /// Skipped keys, by state (or sender-key id), chain and block.
    Keys {
        state: u32,
        chain: u32,
        block: u32,
    },
}

impl Part {
    /// The suffix of the stored record's key, after the owner's name.
    pub fn suffix(self) -> Vec<u8> {
        match self {
            Self::Head => vec![0],
            Self::Archived(state) => [&[1], &state.to_be_bytes()[..]].concat(),
            Self::Keys { state, chain, block } => {
                [&[2], &state.to_be_bytes()[..], &chain.to_be_bytes(), &block.to_be_bytes()].concat()
            }
        }
    }

    /// Reads what [`suffix`](Self::suffix) wrote.
    pub fn parse(suffix: &[u8]) -> Result<Self, SignalError> {
        let number = |at: usize| {
            let bytes = suffix.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_be_bytes).ok_or(corrupt("part of a record"))
        };
        match (suffix.first(), suffix.len()) {
            (Some(0), 1) => Ok(Self::Head),
            (Some(1), 5) => Ok(Self::Archived(number(1)?)),
            (Some(2), 13) => Ok(Self::Keys { state: number(1)?, chain: number(5)?, block: number(9)? }),
            _ => Err(corrupt("part of a record")),
        }
    }
}

/// Parts to be written; `None` deletes one.
pub type PartChanges = Vec<(Part, Option<Zeroizing<Vec<u8>>>)>;

/// The parts in the store, and those to be deleted from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    archived: BTreeSet<u32>,
    /// Stored parts that are to be deleted.
    orphans: Vec<Part>,
}

impl Stored {
    /// Deletes the part of a state that is no longer archived.
    pub(super) fn forget_archived(&mut self, state: u32) {
        if self.archived.remove(&state) {
            self.orphans.push(Part::Archived(state));
        }
    }

    /// Deletes the skipped keys of a removed chain.
    pub(super) fn forget_chain(&mut self, state: u32, chain: Option<&ReceiverChain>) {
        if let Some(chain) = chain {
            let key = |block| Part::Keys { state, chain: chain.ordinal, block };
            self.orphans.extend(chain.window.stored().map(key));
        }
    }
}

impl Session {
    /// Drops the sending chains of all states: for a session of a restored backup, whose next message keys were used already. It
    /// still decrypts; it encrypts again after the peer's next ratchet step, or in a new state.
    pub fn make_receive_only(&mut self) -> Result<(), SignalError> {
        for state in &mut self.archived {
            Arc::make_mut(state).make_receive_only()?;
            // The stored part still has the dropped chain: write it again.
            self.stored.archived.remove(&state.id);
        }
        self.current.as_mut().map_or(Ok(()), SessionState::make_receive_only)
    }

    /// Takes the changes that bring the stored parts up to date; they count as stored from now on.
    pub fn take_changes(&mut self) -> PartChanges {
        let mut changes: PartChanges = self.stored.orphans.drain(..).map(|part| (part, None)).collect();
        for state in &mut self.archived {
            if self.stored.archived.insert(state.id) {
                changes.push((Part::Archived(state.id), Some(state_part(state))));
                take_blocks(&mut changes, Arc::make_mut(state));
            }
        }
        if let Some(current) = &mut self.current {
            take_blocks(&mut changes, current);
        }
        changes.push((Part::Head, Some(self.head())));
        changes
    }

    /// The whole record: every part, whether it is stored or not.
    pub fn to_parts(&self) -> Vec<(Part, Zeroizing<Vec<u8>>)> {
        let mut parts = vec![(Part::Head, self.head())];
        for state in &self.archived {
            parts.push((Part::Archived(state.id), state_part(state)));
        }
        for state in self.current.iter().chain(self.archived.iter().map(|state| &**state)) {
            for chain in &state.receivers {
                let blocks = chain.window.blocks();
                parts.extend(blocks.map(|(block, keys)| (key_part(state, chain, block), seal_keys(&keys))));
            }
        }
        parts.sort_by_key(|(part, _)| *part);
        parts
    }

    /// Reads a session from all its stored parts, in the order of their keys. Without parts there is no session.
    pub fn from_parts<B: AsRef<[u8]>>(parts: impl IntoIterator<Item = (Part, B)>) -> Result<Self, SignalError> {
        let mut parts = parts.into_iter();
        let Some((Part::Head, head)) = parts.next() else {
            return if parts.next().is_none() { Ok(Self::default()) } else { Err(corrupt("session without its head")) };
        };
        let mut session = Self::default();
        let mut listed = Vec::new();
        let mut current = None;
        read(body(head.as_ref())?, |field, value| {
            match field {
                1 => current = Some(value.bytes()?),
                100 => listed = read_packed(value.bytes()?)?,
                101 => session.next_state = value.uint32()?,
                _ => {}
            }
            Ok(())
        })
        .map_err(|_| corrupt("session"))?;
        session.current = current.map(read_state).transpose()?;
        let mut archived = Vec::new();
        for (part, bytes) in parts {
            let bytes = bytes.as_ref();
            match part {
                Part::Archived(_) => archived.push(read_state(body(bytes)?)?),
                Part::Keys { state, chain, block } => {
                    let states = session.current.iter_mut().chain(&mut archived);
                    let window = states
                        .filter(|candidate| candidate.id == state)
                        .flat_map(|state| &mut state.receivers)
                        .find(|candidate| candidate.ordinal == chain)
                        .map(|chain| &mut chain.window);
                    let belongs = window.map(|window| open_keys(bytes).map(|keys| window.restore_block(block, keys)));
                    if !belongs.transpose()?.unwrap_or_default() {
                        return Err(corrupt("block of skipped keys"));
                    }
                }
                Part::Head => return Err(corrupt("second head of a session")),
            }
        }
        for id in listed {
            let place = archived
                .iter()
                .position(|state: &SessionState| state.id == id)
                .ok_or(corrupt("list of archived states"))?;
            session.archived.push_back(Arc::new(archived.swap_remove(place)));
            session.stored.archived.insert(id);
        }
        if archived.is_empty() { Ok(session) } else { Err(corrupt("list of archived states")) }
    }

    fn head(&self) -> Zeroizing<Vec<u8>> {
        let mut out = begin_part(self.current.as_ref().map_or(0, room_for) + 5 * self.archived.len() + 16);
        if let Some(current) = &self.current {
            put_message(&mut out, 1, |out| put_state(out, current));
        }
        if !self.archived.is_empty() {
            put_message(&mut out, 100, |out| self.archived.iter().for_each(|state| put_packed(out, state.id)));
        }
        put_uint(&mut out, 101, self.next_state);
        out
    }
}

fn key_part(state: &SessionState, chain: &ReceiverChain, block: u32) -> Part {
    Part::Keys { state: state.id, chain: chain.ordinal, block }
}

fn take_blocks(changes: &mut PartChanges, state: &mut SessionState) {
    let id = state.id;
    for chain in &mut state.receivers {
        for (block, keys) in chain.window.take_touched() {
            let part = Part::Keys { state: id, chain: chain.ordinal, block };
            changes.push((part, (!keys.is_empty()).then(|| seal_keys(&keys))));
        }
    }
}

/// Room for a state, so that no half-written copy stays behind.
fn room_for(state: &SessionState) -> usize {
    300 + 60 * usize::from(state.pending.is_some()) + 88 * state.receivers.len()
}

fn begin_part(size: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(1 + size));
    out.push(SESSION_FORMAT);
    out
}

fn state_part(state: &SessionState) -> Zeroizing<Vec<u8>> {
    let mut out = begin_part(room_for(state));
    put_state(&mut out, state);
    out
}

fn body(bytes: &[u8]) -> Result<&[u8], SignalError> {
    match bytes.split_first() {
        Some((&SESSION_FORMAT, body)) => Ok(body),
        _ => Err(corrupt("format version of a session")),
    }
}

/// A block of skipped keys; sender keys store theirs in the same form.
pub(super) fn seal_keys(keys: &[(u32, MessageSeed)]) -> Zeroizing<Vec<u8>> {
    let mut seeds = Vec::with_capacity(32 * keys.len());
    keys.iter().for_each(|(_, seed)| seeds.extend_from_slice(seed.expose()));
    let block = KeyBlock { counters: keys.iter().map(|(counter, _)| *counter).collect(), seeds: Some(seeds) };
    let mut out = begin_part(block.encoded_len());
    let written = block.encode(&mut *out);
    debug_assert!(written.is_ok(), "a vector grows");
    out
}

pub(super) fn open_keys(bytes: &[u8]) -> Result<Vec<(u32, MessageSeed)>, SignalError> {
    let block = KeyBlock::decode(body(bytes)?).map_err(|_| corrupt("block of skipped keys"))?;
    let (seeds, rest) = block.seeds().as_chunks::<32>();
    if !rest.is_empty() || seeds.len() != block.counters.len() {
        return Err(corrupt("block of skipped keys"));
    }
    Ok(block.counters.iter().copied().zip(seeds.iter().map(|seed| Secret::new(*seed))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_key_of_a_part_is_read_back_and_keeps_the_order(state: u32, chain: u32, block: u32) {
            let parts = [Part::Head, Part::Archived(state), Part::Keys { state, chain, block }];
            for part in parts {
                prop_assert_eq!(Part::parse(&part.suffix()).unwrap(), part);
                prop_assert!(Part::parse(&[part.suffix(), vec![0]].concat()).is_err());
            }
            prop_assert!(parts.is_sorted_by_key(|part| part.suffix()));
        }
    }
}
