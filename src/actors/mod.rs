//! Layer 4: the actors: mailboxes, supervision, timers, sockets, the order of commits.
//!
//! ```text
//! Fleet ── the registry: factories, restart policy, quarantine
//! ├── Account ── orders turns, commits, publishes; its tree lives on one arbiter
//! │   ├── Link ............ socket, handshake, frames
//! │   ├── Child<SessionCipher>, Child<SenderKeys>, Child<DeviceSync>, Child<PreKeys>
//! Committer ── one thread: group commit, positions of the event log
//! Dispatcher ── webhooks, one lane per endpoint and chat
//! ```
//!
//! Invariants: an effect happens only when its turn is durable; a panic in one account's tree reaches no other.

mod account;
mod boundary;
mod child;
mod client_version;
mod committer;
mod dispatcher;
mod error;
mod fleet;
mod link;
mod linking;
mod messages;
mod metrics;
mod operations;
mod proxy;
mod pulse;
mod recency;
mod remembered;
mod service;
mod transport;
mod upkeep;
mod vital;

pub use committer::{Committer, EventRow, Store, open_store};
pub use error::ActorError;
pub use fleet::{AccountInfo, AccountOptions, Fleet, stored_accounts};
pub use linking::PasskeyLink;
pub use messages::SendText;
pub use metrics::Metrics;
pub use operations::{Measure, manifest_of};
pub use proxy::Proxy;
pub use recency::GroupCache;
pub use remembered::Remembered;
pub use service::{EventFilter, EventPage, Failure, Service, ServiceConfig};
pub use transport::Network;
