//! A symmetric-key ratchet: each step yields one message seed and the next chain key (Double Ratchet section 2.2).

use super::SignalError;
use super::message_key::{Keyed, MessageSeed};
use crate::base::secret::Secret;

/// The kind of a chain, named in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainKind {
    /// One-to-one messages.
    Message,
    /// One member's messages to a group.
    Sender,
}

/// The key of a chain at an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainKey {
    key: Secret<32>,
    index: u32,
    kind: ChainKind,
}

impl ChainKey {
    pub(super) fn message(key: Secret<32>, index: u32) -> Self {
        Self { key, index, kind: ChainKind::Message }
    }

    pub(super) fn sender(key: Secret<32>, index: u32) -> Self {
        Self { key, index, kind: ChainKind::Sender }
    }

    /// The counter of the message that the next [`step`](Self::step) yields.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    pub(super) fn key(&self) -> &Secret<32> {
        &self.key
    }

    /// The seed of message `index`, and the key after it. The counter never wraps: that would use a key twice.
    pub(super) fn step(&self) -> Result<(MessageSeed, Self), SignalError> {
        let index = self.next_index()?;
        let keyed = Keyed::new(self.key.expose());
        let seed = Secret::new(keyed.clone().code(&[&[0x01]]));
        let next = Secret::new(keyed.code(&[&[0x02]]));
        Ok((seed, Self { key: next, index, kind: self.kind }))
    }

    /// The key after message `index`, without its seed.
    pub(super) fn skip(&self) -> Result<Self, SignalError> {
        let index = self.next_index()?;
        Ok(Self { key: Secret::new(Keyed::new(self.key.expose()).code(&[&[0x02]])), index, kind: self.kind })
    }

    fn next_index(&self) -> Result<u32, SignalError> {
        let exhausted = match self.kind {
            ChainKind::Message => SignalError::ChainExhausted { what: "message chain" },
            ChainKind::Sender => SignalError::ChainExhausted { what: "sender chain" },
        };
        self.index.checked_add(1).ok_or(exhausted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, vectors};

    #[test]
    fn a_step_equals_the_known_answer() {
        let v = &vectors()["chain_key"];
        let chain = ChainKey::message(Secret::new(bytes(&v["chain_key"])), 3);
        let (seed, next) = chain.step().unwrap();
        assert_eq!(seed.expose(), &bytes::<32>(&v["message_seed"]));
        assert_eq!(next.key().expose(), &bytes::<32>(&v["next_chain_key"]));
        assert_eq!(next.index(), 4);
    }

    #[test]
    fn the_last_index_is_an_error_of_its_chain_and_never_wraps() {
        let of = |chain: ChainKey| chain.step().err();
        let key = Secret::new([1; 32]);
        let exhausted = |what| Some(SignalError::ChainExhausted { what });
        assert_eq!(of(ChainKey::message(key.clone(), u32::MAX)), exhausted("message chain"));
        assert_eq!(of(ChainKey::sender(key, u32::MAX)), exhausted("sender chain"));
    }
}
