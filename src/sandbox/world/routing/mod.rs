//! Stanzas from device to device: messages, receipts, presence; delivery and the backlog.

mod backlog;
mod delivery;
pub(super) mod messages;
mod presence;
mod receipts;
