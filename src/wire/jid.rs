//! JIDs: addresses of users, devices, groups and services (`wire-protocol.md` 1.4), and the Signal addresses made from them
//! (`signal-protocol.txt`, "Single-Allocation Session Lock Keys").

use super::WireError;
use crate::base::address::{AddressBuffer, ProtocolAddress, SenderKeyName, redact_user};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// The part after the `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Server {
    /// `s.whatsapp.net`: users by phone number.
    Pn,
    /// `lid`: users by linked identity.
    Lid,
    Group,
    Broadcast,
    Newsletter,
    Hosted,
    HostedLid,
    Messenger,
    Interop,
    Bot,
    /// `c.us`: the old name of `s.whatsapp.net`.
    Legacy,
    Call,
}

impl Server {
    const ALL: [Self; 12] = [
        Self::Pn,
        Self::Lid,
        Self::Group,
        Self::Broadcast,
        Self::Newsletter,
        Self::Hosted,
        Self::HostedLid,
        Self::Messenger,
        Self::Interop,
        Self::Bot,
        Self::Legacy,
        Self::Call,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pn => "s.whatsapp.net",
            Self::Lid => "lid",
            Self::Group => "g.us",
            Self::Broadcast => "broadcast",
            Self::Newsletter => "newsletter",
            Self::Hosted => "hosted",
            Self::HostedLid => "hosted.lid",
            Self::Messenger => "msgr",
            Self::Interop => "interop",
            Self::Bot => "bot",
            Self::Legacy => "c.us",
            Self::Call => "call",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.as_str() == text)
    }

    /// The domain byte of the device form, for the servers that have one.
    pub(super) const fn domain(self) -> Option<u8> {
        match self {
            Self::Pn => Some(0),
            Self::Lid => Some(1),
            Self::Hosted => Some(128),
            Self::HostedLid => Some(129),
            _ => None,
        }
    }

    pub(super) const fn from_domain(domain: u8) -> Option<Self> {
        match domain {
            0 => Some(Self::Pn),
            1 => Some(Self::Lid),
            129 => Some(Self::HostedLid),
            other if other & 0x80 != 0 && other % 2 == 0 => Some(Self::Hosted),
            _ => None,
        }
    }
}

/// A user, a device, a group, or a service.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jid {
    server: Server,
    user: Arc<str>,
    device: u16,
    /// Only on `interop`.
    integrator: u16,
}

/// Most bytes of the user part.
const MAX_USER: usize = 64;

/// Whether the text can be the user part of a JID.
pub(super) fn is_user(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+');
    text.len() <= MAX_USER && text.bytes().all(is_plain)
}

impl Jid {
    /// A bare JID.
    pub fn new(user: impl Into<Arc<str>>, server: Server) -> Self {
        Self { server, user: user.into(), device: 0, integrator: 0 }
    }

    pub(super) fn with_integrator(mut self, integrator: u16) -> Self {
        self.integrator = integrator;
        self
    }

    /// A user by phone number.
    pub fn pn(user: impl Into<Arc<str>>) -> Self {
        Self::new(user, Server::Pn)
    }

    /// The service itself: `@s.whatsapp.net`, a JID with an empty user.
    pub fn service() -> Self {
        Self::pn("")
    }

    /// Parses `[user[:device]@]server`.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let bad = || WireError::BadJid { text: redact_user(text).chars().take(100).collect() };
        let (user, server) = text.split_once('@').unwrap_or(("", text));
        let server = Server::parse(server).ok_or_else(bad)?;
        let (user, device) = match user.split_once(':') {
            Some((user, device)) => (user, device.parse().map_err(|_| bad())?),
            None => (user, 0),
        };
        // The agent, as in 1234.0:5@lid, is part of the text form only; a LID user may itself hold a dot.
        let too_high = server.domain().is_some() && device > u16::from(u8::MAX);
        let nobodys_device = user.is_empty() && device > 0;
        if !is_user(user) || too_high || nobodys_device {
            return Err(bad());
        }
        Ok(Self::new(user, server).with_device(device))
    }

    /// Parses a recipient as people write it: the digits of a phone number (a leading `+` is allowed), or a JID.
    pub fn parse_recipient(text: &str) -> Result<Self, WireError> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        if (5..=20).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit()) {
            return Ok(Self::pn(digits));
        }
        let bad = || WireError::BadJid { text: redact_user(text).chars().take(100).collect() };
        let jid = if text.contains('@') { Self::parse(text)? } else { return Err(bad()) };
        let jid = if jid.server == Server::Legacy { Self::pn(jid.user) } else { jid };
        if jid.user.is_empty() { Err(bad()) } else { Ok(jid.bare()) }
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn server(&self) -> Server {
        self.server
    }

    pub fn device(&self) -> u16 {
        self.device
    }

    pub(super) fn integrator(&self) -> u16 {
        self.integrator
    }

    /// The user without a device.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self { device: 0, ..self.clone() }
    }

    /// The given device of this user.
    #[must_use]
    pub fn with_device(&self, device: u16) -> Self {
        Self { device, ..self.clone() }
    }

    pub fn is_same_user_as(&self, other: &Self) -> bool {
        self.user == other.user && self.server == other.server
    }

    /// True for hosted devices, which get no messages from us: device 99, or a hosted server.
    pub fn is_hosted(&self) -> bool {
        self.device == 99 || matches!(self.server, Server::Hosted | Server::HostedLid)
    }

    /// True for a person: by phone number or LID.
    pub fn is_user(&self) -> bool {
        matches!(self.server, Server::Pn | Server::Lid) && !self.user.is_empty()
    }

    /// True for a group.
    pub fn is_group(&self) -> bool {
        self.server == Server::Group && !self.user.is_empty()
    }

    /// The address of status updates.
    pub fn status() -> Self {
        Self::new("status", Server::Broadcast)
    }

    /// True where messages are encrypted once for many: groups, and broadcast lists.
    pub fn is_shared(&self) -> bool {
        matches!(self.server, Server::Group | Server::Broadcast) && !self.user.is_empty()
    }

    /// The Signal address of this device: `user[:device]@server.0`, `s.whatsapp.net` written as `c.us`.
    pub fn protocol_address(&self) -> ProtocolAddress {
        let mut text = String::with_capacity(self.user.len() + 20);
        self.write_address(&mut text);
        ProtocolAddress::from_jid_text(text)
    }

    /// Writes the Signal address into a reused buffer.
    pub fn rewrite_address(&self, buffer: &mut AddressBuffer) {
        buffer.rewrite_jid_text(|text| self.write_address(text));
    }

    fn write_address(&self, text: &mut String) {
        let server = if self.server == Server::Pn { Server::Legacy } else { self.server };
        text.push_str(&self.user);
        if self.device != 0 {
            // Writing into a string cannot fail.
            let _ = write!(text, ":{}", self.device);
        }
        text.push('@');
        text.push_str(server.as_str());
        text.push_str(".0");
    }

    /// The name of the sender key of `self` in `group`: the same for each of its devices.
    pub fn sender_key_name(&self, group: &Self) -> SenderKeyName {
        let mut text = format!("{group}:");
        self.bare().write_address(&mut text);
        SenderKeyName::from_jid_text(text)
    }

    /// For logs: all but the last four characters of the user are hidden.
    pub fn redacted(&self) -> String {
        let text = self.to_string();
        if self.user.is_empty() { text } else { redact_user(&text) }
    }
}

/// Sorts, and keeps one JID per user.
pub fn sort_dedup_by_user(jids: &mut Vec<Jid>) {
    jids.sort_unstable_by(|a, b| (&a.user, a.server).cmp(&(&b.user, b.server)));
    jids.dedup_by(|a, b| a.is_same_user_as(b));
}

/// Sorts, and keeps each JID once.
pub fn sort_dedup_by_device(jids: &mut Vec<Jid>) {
    jids.sort_unstable();
    jids.dedup();
}

/// Redacted, so that debug output in logs carries no whole phone number, nor the one in an old group's id.
impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        if self.device != 0 {
            write!(f, ":{}", self.device)?;
        }
        if !self.user.is_empty() {
            f.write_str("@")?;
        }
        f.write_str(self.server.as_str())
    }
}

impl serde::Serialize for Jid {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Jid {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_addresses_follow_the_documents_table() {
        for (jid, address) in [
            ("5511999887766@s.whatsapp.net", "5511999887766@c.us.0"),
            ("5511999887766:33@s.whatsapp.net", "5511999887766:33@c.us.0"),
            ("123456789@lid", "123456789@lid.0"),
            ("123456789:33@lid", "123456789:33@lid.0"),
        ] {
            let jid = Jid::parse(jid).unwrap();
            assert_eq!(jid.protocol_address().as_str(), address);
            let mut buffer = AddressBuffer::new();
            Jid::parse("99999999999999999999:255@hosted.lid").unwrap().rewrite_address(&mut buffer);
            jid.rewrite_address(&mut buffer);
            assert_eq!(buffer.as_str(), address);
            assert_eq!(buffer.to_address(), jid.protocol_address());
        }
    }

    #[test]
    fn sender_key_name_is_the_same_for_all_devices_of_a_member() {
        let group = Jid::parse("120363021033254949@g.us").unwrap();
        let (device, bare) =
            (Jid::parse("100000000000001:75@lid").unwrap(), Jid::parse("100000000000001@lid").unwrap());
        assert_eq!(device.sender_key_name(&group), bare.sender_key_name(&group));
        assert_eq!(bare.sender_key_name(&group).as_str(), "120363021033254949@g.us:100000000000001@lid.0");
    }

    #[test]
    fn lists_are_deduplicated_by_user_and_by_device() {
        let list =
            || ["1:2@lid", "1@lid", "1:2@lid", "1@s.whatsapp.net"].map(|text| Jid::parse(text).unwrap()).to_vec();
        let (mut users, mut devices) = (list(), list());
        sort_dedup_by_user(&mut users);
        sort_dedup_by_device(&mut devices);
        assert_eq!((users.len(), devices.len()), (2, 3));
    }

    #[test]
    fn display_round_trips() {
        for text in ["s.whatsapp.net", "1@lid", "1:2@lid", "123-456@g.us", "status@broadcast"] {
            assert_eq!(Jid::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn debug_output_is_redacted() {
        for (jid, shown) in [
            ("15550002222:7@s.whatsapp.net", "…2222:7@s.whatsapp.net"),
            ("15550002222-1500000000@g.us", "…0000@g.us"),
            ("status@broadcast", "…atus@broadcast"),
            ("s.whatsapp.net", "s.whatsapp.net"),
        ] {
            assert_eq!(format!("{:?}", Jid::parse(jid).unwrap()), shown);
        }
        let error = Jid::parse("15550002222@example.org").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("15550002222"));
    }

    #[test]
    fn malformed_jid_is_rejected() {
        for text in ["", "a@b", "1:x@lid", "1:70000@lid", "1:256@lid", ":5@lid", "a b@lid", "someone@example.org"] {
            assert!(Jid::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn recipient_is_digits_or_a_jid() {
        assert_eq!(Jid::parse_recipient("+15550002222").unwrap(), Jid::pn("15550002222"));
        assert_eq!(Jid::parse_recipient("15550002222@c.us").unwrap(), Jid::pn("15550002222"));
        for text in ["", "1234", "hello", "lid", "s.whatsapp.net", "@lid"] {
            assert!(Jid::parse_recipient(text).is_err(), "{text}");
        }
    }
}
