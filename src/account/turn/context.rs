//! State of the account that belongs to no feature and outlives turns.

use crate::account::own_device::{Linked, OwnDevice};
use crate::account::settings::Settings;
use crate::base::ids::{AccountId, Generation, RequestFingerprint, random_hex};
use crate::base::time::Monotonic;
use crate::storage::AccountStore;
use rand::rngs::StdRng;
use std::collections::HashMap;
use std::sync::Arc;

pub(in crate::account) struct Context {
    pub(in crate::account) id: AccountId,
    pub(in crate::account) settings: Arc<Settings>,
    pub(in crate::account) store: AccountStore,
    pub(in crate::account) rng: StdRng,
    pub(in crate::account) device: OwnDevice,
    pub(in crate::account) link: LinkStatus,
    /// Commands under an `Idempotency-Key` that are not answered yet, by token.
    pub(super) unanswered: HashMap<u64, RequestFingerprint>,
}

impl Context {
    pub(in crate::account) fn new(
        id: AccountId,
        store: AccountStore,
        settings: Arc<Settings>,
        device: OwnDevice,
        rng: StdRng,
    ) -> Self {
        Self { id, settings, store, rng, device, link: LinkStatus::default(), unanswered: HashMap::new() }
    }

    /// Our identity, once a phone has linked this device.
    pub(in crate::account) fn own(&self) -> Option<&Linked> {
        self.device.linked.as_ref()
    }

    /// Starts request ids that differ from those of every earlier connection.
    pub(in crate::account) fn renew_iq_ids(&mut self) {
        let prefix = format!("{}.{}", random_hex::<3>(&mut self.rng), random_hex::<2>(&mut self.rng));
        self.link.ids = IqIds { prefix, last: 0 };
    }
}

/// Status of the connection for other features. Only `connection/` changes it.
#[derive(Debug, Default)]
pub(in crate::account) struct LinkStatus {
    pub(in crate::account) generation: Generation,
    /// The login is finished: messages may be written.
    pub(in crate::account) online: bool,
    /// A batch of the offline backlog is arriving.
    pub(in crate::account) backlog: bool,
    /// The device was logged out; it can never send again.
    pub(in crate::account) logged_out: bool,
    /// When the first stanza that needs an answer was written since the last inbound traffic.
    pub(in crate::account) unanswered: Option<Monotonic>,
    ids: IqIds,
}

#[derive(Debug, Default)]
struct IqIds {
    prefix: String,
    last: u64,
}

impl LinkStatus {
    pub(super) fn next_iq_id(&mut self) -> String {
        self.ids.last += 1;
        format!("{}-{}", self.ids.prefix, self.ids.last)
    }
}
