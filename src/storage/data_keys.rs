//! Data keys of one account: a name key, which hashes names and never changes, and the keys that seal values. A rotation adds a
//! key, reseals every value page by page, and then removes the older keys.

use crate::base::secret::Secret;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::KeyInit;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

const KEY: usize = 32;
/// The number of an account's first key.
const FIRST: u32 = 0;

pub(super) struct DataKeys {
    pub(super) names: Secret<KEY>,
    /// Oldest first; never empty.
    values: Vec<(u32, Secret<KEY>, XChaCha20Poly1305)>,
}

fn value_key(id: u32, key: Secret<KEY>) -> (u32, Secret<KEY>, XChaCha20Poly1305) {
    let cipher = XChaCha20Poly1305::new(key.expose().into());
    (id, key, cipher)
}

impl DataKeys {
    pub(super) fn generate(rng: &mut StdRng) -> Self {
        Self { values: vec![value_key(FIRST, Secret::generate(rng))], names: Secret::generate(rng) }
    }

    /// Data key and name key before the first rotation; afterwards the name key, then each data key after its number.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(KEY + self.values.len() * (4 + KEY)));
        if let [(FIRST, key, _)] = self.values.as_slice() {
            out.extend_from_slice(key.expose());
            out.extend_from_slice(self.names.expose());
            return out;
        }
        out.extend_from_slice(self.names.expose());
        for (id, key, _) in &self.values {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(key.expose());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() == 2 * KEY {
            let (key, names) = bytes.split_at(KEY);
            let values = vec![value_key(FIRST, Secret::from_slice(key)?)];
            return Some(Self { names: Secret::from_slice(names)?, values });
        }
        let (names, rest) = bytes.split_at_checked(KEY)?;
        let (entries, odd) = rest.as_chunks::<{ 4 + KEY }>();
        let values = entries.iter().map(|entry| {
            let (id, key) = entry.split_at(4);
            Some(value_key(u32::from_be_bytes(id.try_into().ok()?), Secret::from_slice(key)?))
        });
        let values = values.collect::<Option<Vec<_>>>()?;
        let is_whole = odd.is_empty() && !values.is_empty();
        is_whole.then_some(Self { names: Secret::from_slice(names)?, values })
    }

    /// The current key, and its number.
    pub(super) fn newest(&self) -> Option<(u32, &XChaCha20Poly1305)> {
        self.values.last().map(|(id, _, cipher)| (*id, cipher))
    }

    pub(super) fn of(&self, id: u32) -> Option<&XChaCha20Poly1305> {
        self.values.iter().find(|(other, ..)| *other == id).map(|(_, _, cipher)| cipher)
    }

    /// Whether values may still be sealed under an older key.
    pub(super) fn is_rotating(&self) -> bool {
        self.values.len() > 1
    }

    /// The keys with a new current key.
    pub(super) fn begin_rotation(&self, rng: &mut StdRng) -> Self {
        let next = self.values.last().map_or(FIRST, |(id, ..)| id.wrapping_add(1));
        let known = self.values.iter().map(|(id, key, _)| value_key(*id, key.clone()));
        let values = known.chain([value_key(next, Secret::generate(rng))]).collect();
        Self { names: self.names.clone(), values }
    }

    /// The current key only: the rotation is finished.
    pub(super) fn end_rotation(&self) -> Self {
        let newest = self.values.iter().rev().take(1).map(|(id, key, _)| value_key(*id, key.clone()));
        Self { names: self.names.clone(), values: newest.collect() }
    }
}
