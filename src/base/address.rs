//! Signal addresses as opaque text (`signal-protocol.txt`, "Single-buffer ProtocolAddress").
//!
//! Invariant: only `wire::jid` builds an address from a JID (`tests/it/layering` checks it), so a device has exactly one
//! spelling and no session is missed or duplicated.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The address of one device: `user[:device]@server.0`, for example `5511999887766:33@c.us.0`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolAddress(Arc<str>);

impl ProtocolAddress {
    /// Wraps the finished text. Called by `wire::jid` only.
    pub(crate) fn from_jid_text(text: String) -> Self {
        Self(text.into())
    }

    /// The whole address, as it stands in store keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lets an [`AddressBuffer`] look up a map keyed by addresses without an allocation.
impl Borrow<str> for ProtocolAddress {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A reusable address, rewritten for each device of a long list: no allocation per device.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AddressBuffer(String);

impl AddressBuffer {
    /// A buffer with room for the longest address.
    pub fn new() -> Self {
        Self(String::with_capacity(64))
    }

    /// Replaces the text. Called by `wire::jid` only.
    pub(crate) fn rewrite_jid_text(&mut self, write: impl FnOnce(&mut String)) {
        self.0.clear();
        write(&mut self.0);
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn to_address(&self) -> ProtocolAddress {
        ProtocolAddress(self.0.as_str().into())
    }
}

/// The store key of a sender key: `{group}:{user}@{server}.0`. The sender is bare, because stanzas name the same member with
/// and without a device, and both must find the key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SenderKeyName(Arc<str>);

impl SenderKeyName {
    /// Wraps the finished text. Called by `wire::jid` only.
    pub(crate) fn from_jid_text(text: String) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SenderKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, sender) = self.0.split_once(':').unwrap_or((&self.0, ""));
        write!(f, "{}:{}", redact_user(group), redact_user(sender))
    }
}

impl fmt::Debug for ProtocolAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prints only the last four digits of the user: no log line or error text carries a whole phone number.
impl fmt::Display for ProtocolAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_user(&self.0))
    }
}

/// Replaces all but the last four characters of the user part of an address or JID by `…`.
pub fn redact_user(text: &str) -> String {
    let user_end = text.find([':', '@']).unwrap_or(text.len());
    let (user, rest) = text.split_at(user_end);
    let skip = user.chars().count().saturating_sub(4);
    match user.char_indices().nth(skip) {
        Some((start, _)) if skip > 0 => format!("…{}{rest}", &user[start..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_address_hides_the_phone_number() {
        let address = ProtocolAddress::from_jid_text("5511999887766:33@c.us.0".into());
        assert_eq!(address.to_string(), "…7766:33@c.us.0");
        assert_eq!(format!("{address:?}"), "…7766:33@c.us.0");
    }
}
