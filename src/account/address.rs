//! Addresses as callers write them: parsed once at the edge, as a phone number (`+15550002222`, `15550002222`) or a JID.

use crate::wire::Jid;
use std::str::FromStr;

/// Text that is no address of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

fn parse(text: &str, is_wanted: impl Fn(&Jid) -> bool, wanted: &str) -> Result<Jid, BadAddress> {
    let jid = Jid::parse_recipient(text).map_err(|error| BadAddress(error.to_string()))?;
    if is_wanted(&jid) { Ok(jid) } else { Err(BadAddress(format!("must be {wanted}"))) }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $is_wanted:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub(in crate::account) Jid);

        impl FromStr for $name {
            type Err = BadAddress;

            fn from_str(text: &str) -> Result<Self, BadAddress> {
                parse(text, $is_wanted, $wanted).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

address!(
    /// A contact, a group, or `status@broadcast`.
    Recipient,
    "a phone number, a LID, a group or status@broadcast",
    |jid| jid.is_user() || jid.is_group() || *jid == Jid::status()
);
address!(
    /// A contact, by phone number or LID.
    Contact,
    "a phone number or a LID",
    Jid::is_user
);
address!(
    /// A group, or `status@broadcast`.
    GroupOrStatus,
    "a group's JID or status@broadcast",
    Jid::is_shared
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_takes_its_addresses_and_refuses_the_others() {
        for text in ["+15550002222", "15550002222", "15550002222@s.whatsapp.net", "77@lid"] {
            assert!(text.parse::<Recipient>().is_ok() && text.parse::<Contact>().is_ok(), "{text}");
            assert!(text.parse::<GroupOrStatus>().is_err(), "{text}");
        }
        for text in ["120363000000000000@g.us", "status@broadcast"] {
            assert!(text.parse::<Recipient>().is_ok() && text.parse::<GroupOrStatus>().is_ok(), "{text}");
            assert_eq!(text.parse::<Contact>().unwrap_err().to_string(), "must be a phone number or a LID");
        }
        for text in ["", "Maria", "@lid", "1@newsletter"] {
            assert!(text.parse::<Recipient>().is_err(), "{text}");
        }
    }
}
