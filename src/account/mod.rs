//! Layer 3: what an account does, as plain machines without sockets, actors or clocks.
//!
//! The [`Router`] takes one [`Input`] a turn and hands it to a feature (`features.rs` lists them, one room each). A feature reads,
//! writes, asks the children and announces notices through the `Turn` (`turn/`); the turn's `Changes` are committed before its
//! [`Effect`]s happen. A turn awaits its children and nothing else: what needs the network is a request, resumed by its response.
//!
//! [`Local`] drives the same machines in one thread, in virtual time.

mod address;
mod calls;
mod children;
mod codec;
mod connection;
mod content;
mod directory;
mod error;
mod features;
mod groups;
mod history;
mod linking;
mod local;
mod messages;
mod own_device;
mod poison;
mod prekeys;
mod privacy;
mod restore;
mod retention;
mod router;
mod settings;
mod turn;
mod view;

pub use address::{BadAddress, Contact, GroupOrStatus, Recipient};
pub use children::asks::{Ask, Asked, Children, Job};
pub use children::device_sync::DeviceSync;
pub use children::prekeys::PreKeys;
pub use children::provision::{load_or_create, provision};
pub use children::sender_keys::{KeepAll, Recency, SenderKeys};
pub use children::session_cipher::SessionCipher;
pub use content::{Content, text::Text};
pub use error::{AccountError, ChildDown, Refusal};
pub use features::{Command, event_types};
pub use local::{Local, Machines};
pub use own_device::{Linked, OwnDevice};
pub use poison::{Poison, StanzaFingerprint};
pub use restore::prepare_restored;
pub use retention::{ErasePage, Erased};
pub use router::{Input, Router};
pub use settings::client_version::SharedVersion;
pub use settings::connect_rate::ConnectRate;
pub use settings::{Retention, Settings};
pub use turn::counter::Counter;
pub use turn::effect::Effect;
pub use turn::idempotency::Once;
pub use turn::reply::{Repeated, Reply, ReplyTo};
pub use view::{AccountState, AccountView, LinkCode, PasskeyView};

/// Commands of the features, and their refusals.
pub mod commands {
    pub use super::connection::{Command as Connection, LoggedOut};
    pub use super::groups::Command as Groups;
    pub use super::linking::{Assertion, BadAssertion, Command as Linking, LinkingError};
    pub use super::messages::{
        BadReaders, Command as Messages, MessageRecord, MessageStatus, RecipientStatus, SendError, SendRequest,
        stored_message,
    };
    pub use super::prekeys::{Command as PreKeyUploads, NotLinked};
}

/// Stored structures, generated from `proto/records.proto`.
mod proto {
    #![allow(missing_docs, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/records.rs"));
}
