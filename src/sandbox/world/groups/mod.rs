//! Groups: members, metadata, and the `w:g2` requests of devices.

mod control;
pub(super) mod group;
mod iq;
mod membership;
mod metadata;
mod stanzas;

pub use control::{GroupSummary, MemberSummary};
pub use group::{MemberChange, MemberRole};
