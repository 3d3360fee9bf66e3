//! Requests of messages to the service.

use crate::base::ids::MessageId;
use crate::wire::{Jid, Node};

#[derive(Debug)]
pub(in crate::account) enum Request {
    /// Prekeys of these devices, for the outgoing message with this sequence number.
    Bundles { seq: u64, devices: Vec<Jid> },
    /// Prekeys of a device that asks for a message again.
    Resend(Resend),
}

/// A device that asks for a message again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::account) struct Resend {
    pub(super) id: MessageId,
    pub(super) device: Jid,
    pub(super) count: u64,
    /// The retry receipt without its content: what its acknowledgement echoes.
    pub(super) receipt: Box<Node>,
}
