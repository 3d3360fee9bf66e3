//! Rows of the stored network: their names and keys.

use super::ids::DeviceId;
use crate::wire::Jid;

/// A row to write, or to delete when it has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// The smallest part of the network that changes by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox::world) enum Row {
    Service,
    Account(String),
    Phone(String),
    /// A phone's session with a device.
    Session(String, Jid),
    /// A phone's keys of a member for a group.
    SenderKeys(String, Jid, Jid),
    GroupKey(String, Jid),
    Message(String, usize),
    Companion(DeviceId),
    Queue(DeviceId, u64),
    Patch(String, String, usize),
    Group(Jid),
    Media(String),
}

/// First segments of keys. Rows are restored in key order, so an owner precedes its parts.
pub(in crate::sandbox::world) mod kind {
    pub(in crate::sandbox::world) const SERVICE: &str = "0";
    pub(in crate::sandbox::world) const ACCOUNT: &str = "1";
    pub(in crate::sandbox::world) const PHONE: &str = "2";
    pub(in crate::sandbox::world) const SESSION: &str = "3";
    pub(in crate::sandbox::world) const SENDER_KEYS: &str = "4";
    pub(in crate::sandbox::world) const GROUP_KEY: &str = "5";
    pub(in crate::sandbox::world) const MESSAGE: &str = "6";
    pub(in crate::sandbox::world) const COMPANION: &str = "7";
    pub(in crate::sandbox::world) const QUEUE: &str = "8";
    pub(in crate::sandbox::world) const PATCH: &str = "9";
    pub(in crate::sandbox::world) const GROUP: &str = "a";
    pub(in crate::sandbox::world) const MEDIA: &str = "b";
}

impl Row {
    /// Segments are separated by `/`, which none of them contains. Numbers are zero-padded, so rows sort as the lists do.
    pub(in crate::sandbox::world) fn key(&self) -> String {
        match self {
            Self::Service => kind::SERVICE.to_owned(),
            Self::Account(number) => format!("{}/{number}", kind::ACCOUNT),
            Self::Phone(number) => format!("{}/{number}", kind::PHONE),
            Self::Session(number, device) => format!("{}/{number}/{device}", kind::SESSION),
            Self::SenderKeys(number, author, group) => format!("{}/{number}/{author}/{group}", kind::SENDER_KEYS),
            Self::GroupKey(number, group) => format!("{}/{number}/{group}", kind::GROUP_KEY),
            Self::Message(number, at) => format!("{}/{number}/{at:010}", kind::MESSAGE),
            Self::Companion(DeviceId { number, device }) => format!("{}/{number}/{device}", kind::COMPANION),
            Self::Queue(DeviceId { number, device }, sequence) => {
                format!("{}/{number}/{device}/{sequence:020}", kind::QUEUE)
            }
            Self::Patch(number, name, version) => format!("{}/{number}/{name}/{version:010}", kind::PATCH),
            Self::Group(group) => format!("{}/{group}", kind::GROUP),
            Self::Media(token) => format!("{}/{token}", kind::MEDIA),
        }
    }
}
