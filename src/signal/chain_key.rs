//! A symmetric-key ratchet: each step yields one message seed and the next chain key (Double Ratchet section 2.2).

use super::SignalError;
use super::message_key::{MessageSeed, hmac_sha256};
use crate::base::secret::Secret;

/// The key of a chain at an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainKey {
    key: Secret<32>,
    index: u32,
}

impl ChainKey {
    pub(super) fn new(key: Secret<32>, index: u32) -> Self {
        Self { key, index }
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
        let index = self.index.checked_add(1).ok_or(SignalError::ChainExhausted { what: "message chain" })?;
        let seed = Secret::new(hmac_sha256(self.key.expose(), &[&[0x01]]));
        let next = Secret::new(hmac_sha256(self.key.expose(), &[&[0x02]]));
        Ok((seed, Self { key: next, index }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, vectors};

    #[test]
    fn a_step_equals_the_known_answer() {
        let v = &vectors()["chain_key"];
        let chain = ChainKey::new(Secret::new(bytes(&v["chain_key"])), 3);
        let (seed, next) = chain.step().unwrap();
        assert_eq!(seed.expose(), &bytes::<32>(&v["message_seed"]));
        assert_eq!(next.key().expose(), &bytes::<32>(&v["next_chain_key"]));
        assert_eq!(next.index(), 4);
    }

    #[test]
    fn the_last_index_is_an_error_and_never_wraps() {
        let chain = ChainKey::new(Secret::new([1; 32]), u32::MAX);
        assert_eq!(chain.step().err(), Some(SignalError::ChainExhausted { what: "message chain" }));
    }
}
