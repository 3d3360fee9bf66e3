//! Newtypes for every identifier, parsed once at the edge.

use rand::Rng;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A malformed identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must {rule}")]
pub struct IdError {
    pub what: &'static str,
    pub rule: &'static str,
}

/// The public name of an account: `[a-z0-9][a-z0-9_-]{0,62}` (`api.md`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(Arc<str>);

impl AccountId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let ok = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = matches!(bytes.first(), Some(&c) if ok(c))
            && bytes.len() <= 63
            && bytes.iter().all(|&c| ok(c) || c == b'_' || c == b'-');
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(IdError {
                what: "an account id",
                rule: "be 1 to 63 characters of a-z, 0-9, _ and -, beginning with a letter or digit",
            })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AccountId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// The internal id of an account, 16 random bytes, never reused: the prefix of all its records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey([u8; 16]);

impl AccountKey {
    /// The prefix of the server's own records. No account has it: [`AccountKey::generate`] sets the top bit.
    pub const SERVER: Self = Self([0; 16]);

    pub fn generate(rng: &mut dyn Rng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        bytes[0] |= 0x80;
        Self(bytes)
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for AccountKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for AccountKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A message's id, chosen by its sender (`3EB0…` for ours).
    MessageId
);
text_id!(
    /// `evt_` and 24 hex digits: an event of the log, and the `webhook-id` of its deliveries.
    EventId
);
text_id!(
    /// `wh_` and 16 hex digits: a webhook endpoint.
    EndpointId
);

impl EventId {
    pub fn generate(rng: &mut dyn Rng) -> Self {
        Self::new(format!("evt_{}", random_hex::<12>(rng)))
    }
}

impl EndpointId {
    pub fn generate(rng: &mut dyn Rng) -> Self {
        Self::new(format!("wh_{}", random_hex::<8>(rng)))
    }
}

/// `N` random bytes as lower-case hex.
pub fn random_hex<const N: usize>(rng: &mut dyn Rng) -> String {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    hex::encode(bytes)
}

/// A request that can be recognised when it comes again: hashes of (API key, path, `Idempotency-Key`), and of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFingerprint {
    pub request: [u8; 32],
    pub body: [u8; 32],
}

impl RequestFingerprint {
    /// How long the answer to a request is kept for its repetition (`api.md`).
    pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
}

/// The generation of an actor tree or a connection: inputs of an older one are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl Generation {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_follow_the_contract() {
        for good in ["a", "support", "0-x_y", &"a".repeat(63)] {
            assert!(AccountId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a b", "ä", &"a".repeat(64)] {
            assert!(AccountId::parse(bad).is_err(), "{bad}");
        }
    }
}
