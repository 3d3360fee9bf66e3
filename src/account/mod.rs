//! Layer 3: what an account does, as plain machines without sockets, actors or clocks.
//!
//! The [`Router`] takes one [`Input`] a turn. It asks its children (an ask is a method of their machine, carried as a
//! closure by [`Children`]), gathers what they changed into one `Changes`, and returns [`Effect`]s, which the driver lets
//! happen only when those changes are durable. A turn awaits its children and nothing else: what needs the network is
//! parked in the IQ table and resumed by the stanza that answers it.
//!
//! [`Local`] drives the same machines in one thread, in virtual time.

mod children;
mod codec;
mod connection;
mod directory;
mod error;
mod groups;
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

pub use children::device_sync::DeviceSync;
pub use children::prekeys::PreKeys;
pub use children::sender_keys::{KeepAll, Recency, SenderKeys};
pub use children::session_cipher::SessionCipher;
pub use error::AccountError;
pub use linking::{Assertion, BadAssertion};
pub use local::{Local, Machines};
pub use messages::outbound::SendRequest;
pub use messages::record::{MessageRecord, MessageStatus, RecipientStatus};
pub use own_device::{Device, Link};
pub use poison::{Poison, StanzaPrint};
pub use restore::prepare_restored;
pub use retention::Retention;
pub use router::{Command, Effect, Input, Refusal, Reply, Router, Settings, Turn};
pub use settings::client_version::SharedVersion;
pub use settings::pacing::Pacing;
pub use turn::counter::Incident;
pub use view::{AccountState, AccountView, LinkCode, PasskeyView};

use crate::base::counts::Counts;

/// Stored structures, generated from `proto/records.proto`.
mod proto {
    #![allow(missing_docs, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/records.rs"));
}

/// A child has gone down; the whole tree will be loaded anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {child} has gone down")]
pub struct ChildDown {
    pub child: &'static str,
}

/// The router's way to its children. Each ask runs to its end before the next; a panic inside it is [`ChildDown`].
#[expect(async_fn_in_trait, reason = "driven on one thread; the futures need not be Send")]
pub trait Children {
    async fn sessions<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut SessionCipher) -> R + Send + 'static,
    ) -> Result<R, ChildDown>;

    async fn sender_keys<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut SenderKeys) -> R + Send + 'static,
    ) -> Result<R, ChildDown>;

    async fn devices<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut DeviceSync) -> R + Send + 'static,
    ) -> Result<R, ChildDown>;

    async fn prekeys<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut PreKeys) -> R + Send + 'static,
    ) -> Result<R, ChildDown>;
}
