//! The service and its phones as one machine: bytes of connections in, bytes out, time as an argument.
//!
//! Facts: `sandbox-service.md`. Invariant: a stanza is queued and redelivered until its device has acknowledged it.
//! `state.rs` holds the state; each room is an `impl World`:
//!
//! | room | |
//! |---|---|
//! | `net` | connections, login, dispatch of stanzas, the table of answers, faults, scheduled actions |
//! | `registry` | accounts, companions, LIDs, reinstallation |
//! | `linking` | by QR code, by code, by passkey |
//! | `routing` | messages, receipts, delivery, backlog, presence |
//! | `groups` | members, metadata, notifications |
//! | `directory` | usync, prekeys, settings, privacy tokens, app state, media |
//! | `phone` | simulated phones |
//! | `persistence` | rows of the stored network |

mod control;
mod directory;
mod error;
mod groups;
mod ids;
mod journal;
mod linking;
mod net;
mod persistence;
mod phone;
mod refusal;
mod registry;
mod rfc3339;
mod routing;
mod row;
mod state;

pub use control::PhoneSummary;
pub use error::WorldError;
pub use groups::{GroupSummary, MemberChange, MemberRole, MemberSummary};
pub use ids::ConnectionId;
pub use linking::{PasskeyFault, PasskeyPolicy, PasskeyStep};
pub use net::{FaultKind, FaultSummary, NewFault, Output, StanzaLog, Tap};
pub use phone::{PhoneContext, PhoneMedia, PhoneMessage, Writing};
pub use row::Change;
pub use state::World;
