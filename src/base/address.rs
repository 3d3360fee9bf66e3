//! Signal addresses as opaque text (`signal-protocol.txt`, "Single-buffer ProtocolAddress").
//!
//! Invariant: an address is built from a JID by `wire::jid` and nowhere else (the layering test looks), so a device has
//! exactly one spelling and a session can be neither missed nor doubled.

use std::fmt;
use std::sync::Arc;

/// The address of one device: `user[:device]@server.0`, for example `5511999887766:33@c.us.0`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolAddress(Arc<str>);

impl ProtocolAddress {
    /// Takes the finished text. For `wire::jid` alone.
    pub(crate) fn from_jid_text(text: String) -> Self {
        Self(text.into())
    }

    /// The whole address, as it stands in store keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProtocolAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shows the last four digits of the user only: log lines and error texts carry no whole phone number.
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
