//! Layer 3: what an account does, as plain machines without sockets, actors or clocks.
//!
//! The [`Router`] takes one [`Input`] a turn. It asks its children (an ask is a method of their machine, carried as a
//! closure by [`Children`]), gathers what they changed into one `Changes`, and returns [`Effect`]s, which the driver lets
//! happen only when those changes are durable. A turn awaits its children and nothing else: what needs the network is
//! parked in the IQ table and resumed by the stanza that answers it.
//!
//! [`Local`] drives the same machines in one thread, in virtual time.

mod addresses;
mod budget;
mod codec;
mod device;
mod devices;
mod drain;
mod error;
mod events;
mod group_events;
mod group_meta;
mod inbound;
mod incident;
mod iq;
mod lifecycle;
mod linking;
mod local;
mod login;
mod message_record;
mod opening;
mod outbound;
mod outbound_group;
mod outbox;
mod outcome;
mod pacing;
mod poison;
mod prekeys;
mod receipts;
mod resend;
mod restore;
mod retention;
mod router;
mod sender_keys;
mod sessions;
mod targets;
mod tokens;
mod upload;
mod version;
mod view;

pub use device::{Device, Link};
pub use devices::DeviceSync;
pub use error::AccountError;
pub use incident::Incident;
pub use linking::{Assertion, BadAssertion};
pub use local::{Local, Machines};
pub use message_record::{MessageRecord, MessageStatus, RecipientStatus};
pub use outbound::SendRequest;
pub use pacing::Pacing;
pub use poison::{Poison, StanzaPrint};
pub use prekeys::PreKeys;
pub use restore::prepare_restored;
pub use retention::Retention;
pub use router::{Command, Effect, Input, Refusal, Reply, Router, Settings, Turn};
pub use sender_keys::{KeepAll, Recency, SenderKeys};
pub use sessions::SessionCipher;
pub use version::SharedVersion;
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
