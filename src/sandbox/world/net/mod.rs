//! Connections of clients: handshake, login, dispatch of stanzas, answers, faults and scheduled actions.

pub(super) mod connections;
pub(super) mod faults;
pub(super) mod identity;
mod iq;
mod login;
mod machine;
pub(super) mod media_host;
pub(super) mod monitor;
pub(super) mod schedule;

pub use connections::Output;
pub use faults::{FaultKind, FaultSummary, NewFault};
pub use monitor::{StanzaLog, Tap};
