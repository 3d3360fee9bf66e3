//! Requests for prekeys: of an outgoing message, and of a resend.

use crate::base::ids::MessageId;
use crate::wire::{Jid, Node};

#[derive(Debug)]
pub(in crate::account) enum Request {
    /// Prekeys of these devices, for the outgoing message with this sequence number.
    Bundles { seq: u64, devices: Vec<Jid> },
    /// Prekeys of a device that sent a retry receipt.
    Resend(Resend),
}

/// A resend: the message and the device that sent a retry receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::account) struct Resend {
    pub(super) id: MessageId,
    pub(super) device: Jid,
    pub(super) count: u64,
    /// The retry receipt without its content, for its acknowledgement.
    pub(super) receipt: Box<Node>,
}
