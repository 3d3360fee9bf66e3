//! The environment that all accounts' trees share: store, network, settings, clock and randomness.

use crate::account::{Poison, Settings, StanzaFingerprint};
use crate::actors::committer::store::Store;
use crate::actors::metrics::Metrics;
use crate::actors::transport::network::Network;
use crate::actors::tree::group_cache::GroupCache;
use crate::base::entropy::Entropy;
use crate::base::hooks::Hooks;
use crate::base::ids::{AccountKey, Generation};
use crate::base::time::Clock;
use crate::storage::Changes;
use std::sync::Arc;
use std::time::Duration;

/// Handles and settings of every tree.
#[derive(Clone)]
pub(in crate::actors) struct Environment {
    pub(in crate::actors) store: Store,
    pub(in crate::actors) network: Network,
    pub(in crate::actors) settings: Arc<Settings>,
    pub(in crate::actors) clock: Arc<dyn Clock>,
    pub(in crate::actors) entropy: Arc<Entropy>,
    pub(in crate::actors) hooks: Arc<dyn Hooks>,
    pub(in crate::actors) metrics: Arc<Metrics>,
    /// Retention of events in the log.
    pub(in crate::actors) keep_events: Duration,
    /// A tree without a sign of life for this long is abandoned.
    pub(in crate::actors) patience: Duration,
    /// How long what a child has used stays in its memory.
    pub(in crate::actors) rest_after: Duration,
    pub(in crate::actors) group_cache: GroupCache,
}

impl Environment {
    /// Counts a stanza that blocked a tree, in that tree's generation: before the next tree is fenced in.
    pub(in crate::actors) fn count_poison(
        &self,
        account: AccountKey,
        generation: Generation,
        stanza: StanzaFingerprint,
    ) {
        match Poison::load(&self.store.account(account)) {
            Ok(mut poison) => {
                let mut changes = Changes::default();
                changes.absorb(poison.count(stanza, self.clock.now()));
                // Ordered before the fence, so the next tree loads it.
                drop(self.store.commit(account, generation, changes));
            }
            Err(error) => tracing::error!(%error, "poison stanza cannot be counted"),
        }
    }
}
