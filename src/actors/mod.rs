//! Layer 4: the actors: mailboxes, supervision, timers, sockets, the order of commits.
//!
//! ```text
//! Fleet ── the registry: factories, restart policy, quarantine
//! ├── Account ── orders turns, commits, publishes; its tree lives on one arbiter
//! │   ├── Connection ...... socket, handshake, frames
//! │   ├── Child<SessionCipher>, Child<SenderKeys>, Child<DeviceSync>, Child<PreKeys>
//! Committer ── one thread: group commit, positions of the event log
//! Dispatcher ── webhooks, one lane per endpoint and chat
//! ```
//!
//! Invariants: an effect happens only when its turn is durable; a panic in one account's tree reaches no other.

mod committer;
mod error;
mod fleet;
mod metrics;
mod service;
mod supervision;
#[cfg(test)]
mod testing;
mod transport;
mod tree;
mod webhooks;

pub use committer::idempotency::IdempotentAnswer;
pub use committer::rows::EventRow;
pub use committer::store::Store;
pub use committer::writer::open_store;
pub use error::ActorError;
pub use fleet::record::{AccountInfo, stored_accounts};
pub use metrics::Metrics;
pub use service::disk::{Disk, Measure};
pub use service::events::{EventFilter, EventPage};
pub use service::handle::AccountHandle;
pub use service::linking::PasskeyLink;
pub use service::operations::manifest_of;
pub use service::start::ServiceConfig;
pub use service::state::{Failure, Service};
pub use transport::network::Network;
pub use transport::proxy::Proxy;
pub use transport::sandbox_root::SandboxRoot;
pub use tree::group_cache::GroupCache;
pub use tree::options::AccountOptions;
