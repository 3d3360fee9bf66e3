//! Names of connections and devices.

/// A connection, numbered by the owner of the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One device of one person: the phone is device 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sandbox::world) struct DeviceId {
    pub(in crate::sandbox::world) number: String,
    pub(in crate::sandbox::world) device: u16,
}

impl DeviceId {
    pub(in crate::sandbox::world) fn new(number: &str, device: u16) -> Self {
        Self { number: number.to_owned(), device }
    }

    /// The primary device of this number.
    pub(in crate::sandbox::world) fn phone(number: &str) -> Self {
        Self::new(number, 0)
    }
}
