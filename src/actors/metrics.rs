//! Metrics in the Prometheus text format. Each label has few values; none is an account.

use crate::account::{AccountState, AccountView, Counter as AccountCounter};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in crate::actors) struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabel {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CounterLabel {
    kind: &'static str,
}

/// Group commits.
pub(in crate::actors) struct CommitMetrics {
    /// Seconds from the request to commit a turn until it is durable.
    pub(in crate::actors) seconds: Histogram,
    /// Turns that one sync made durable.
    pub(in crate::actors) turns_per_sync: Histogram,
    pub(in crate::actors) turns: Counter,
    pub(in crate::actors) syncs: Counter,
    pub(in crate::actors) rows: Counter,
    pub(in crate::actors) bytes: Counter,
}

/// All metrics of a server.
pub struct Metrics {
    registry: Registry,
    pub(in crate::actors) commits: CommitMetrics,
    pub(in crate::actors) restarts: Counter,
    pub(in crate::actors) quarantines: Counter,
    pub(in crate::actors) stuck: Counter,
    accounts: Family<StateLabel, Gauge>,
    prekeys_due: Gauge,
    incidents: Family<CounterLabel, Counter>,
    free_bytes: Gauge,
    store_bytes: Gauge,
    deliveries: Family<DeliveryLabel, Gauge>,
    delivery_oldest_seconds: Gauge,
    backup_timestamp: Gauge,
}

/// Values measured for one scrape.
#[derive(Debug, Default)]
pub(in crate::actors) struct Measured {
    pub(in crate::actors) free_bytes: Option<u64>,
    pub(in crate::actors) store_bytes: Option<u64>,
    pub(in crate::actors) pending: u64,
    pub(in crate::actors) dead: u64,
    /// Age of the oldest event with a pending delivery.
    pub(in crate::actors) oldest_seconds: u64,
    /// Time of the last backup, in seconds since the epoch.
    pub(in crate::actors) backup: Option<u64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("wharf"),
            commits: CommitMetrics {
                seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
                turns_per_sync: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
                turns: Counter::default(),
                syncs: Counter::default(),
                rows: Counter::default(),
                bytes: Counter::default(),
            },
            restarts: Counter::default(),
            quarantines: Counter::default(),
            stuck: Counter::default(),
            accounts: Family::default(),
            prekeys_due: Gauge::default(),
            incidents: Family::default(),
            free_bytes: Gauge::default(),
            store_bytes: Gauge::default(),
            deliveries: Family::default(),
            delivery_oldest_seconds: Gauge::default(),
            backup_timestamp: Gauge::default(),
        };
        // Start every series at zero: an increase is only visible against an earlier value.
        for counter in AccountCounter::ALL {
            metrics.incidents.get_or_create(&CounterLabel { kind: counter.as_str() }).inc_by(0);
        }
        metrics.registered()
    }
}

/// -1 for an unknown value.
fn gauge(value: Option<u64>) -> i64 {
    value.and_then(|value| value.try_into().ok()).unwrap_or(-1)
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        let seconds = "Seconds from the request to commit a turn until it is durable";
        registry.register("commit_seconds", seconds, self.commits.seconds.clone());
        registry.register("commit_turns", "Turns that one sync made durable", self.commits.turns_per_sync.clone());
        registry.register("turns", "Turns made durable", self.commits.turns.clone());
        registry.register("syncs", "Syncs of the store", self.commits.syncs.clone());
        registry.register("commit_rows", "Rows written or deleted by commits", self.commits.rows.clone());
        registry.register("commit_bytes", "Bytes of the keys and values of those rows", self.commits.bytes.clone());
        registry.register("account_restarts", "Account trees that went down and were reloaded", self.restarts.clone());
        registry.register("account_quarantines", "Accounts that were quarantined", self.quarantines.clone());
        registry.register(
            "account_stuck",
            "Account trees that were given up because they did not move",
            self.stuck.clone(),
        );
        registry.register("incidents", "What should be rare, by kind", self.incidents.clone());
        registry.register("accounts", "Accounts by state", self.accounts.clone());
        let due = "Accounts whose prekeys run out at the service, which has not taken new ones yet";
        registry.register("prekeys_due_accounts", due, self.prekeys_due.clone());
        registry.register("store_bytes", "Bytes of the data folder", self.store_bytes.clone());
        registry.register("deliveries", "Webhook deliveries that are not done, by status", self.deliveries.clone());
        let oldest = "Age in seconds of the oldest event that an endpoint has not accepted";
        registry.register("delivery_oldest_seconds", oldest, self.delivery_oldest_seconds.clone());
        let backup = "When the last backup was made, in seconds since the epoch; 0 if never";
        registry.register("backup_timestamp_seconds", backup, self.backup_timestamp.clone());
        registry.register("free_bytes", "Bytes free where the data lie", self.free_bytes.clone());
        self
    }

    pub(in crate::actors) fn count(&self, counter: AccountCounter) {
        self.incidents.get_or_create(&CounterLabel { kind: counter.as_str() }).inc();
    }

    /// Number of durable turns, and of the syncs that made them so.
    pub fn turns_and_syncs(&self) -> (u64, u64) {
        (self.commits.turns.get(), self.commits.syncs.get())
    }

    /// All metrics as text.
    pub(in crate::actors) fn render<'a>(
        &self,
        views: impl Iterator<Item = &'a AccountView> + Clone,
        measured: &Measured,
    ) -> String {
        for state in AccountState::ALL {
            let count = views.clone().filter(|view| view.state == state).count();
            self.accounts.get_or_create(&StateLabel { state: state.as_str() }).set(gauge(u64::try_from(count).ok()));
        }
        let due = views.filter(|view| view.prekeys_due).count();
        self.prekeys_due.set(gauge(u64::try_from(due).ok()));
        self.free_bytes.set(gauge(measured.free_bytes));
        self.store_bytes.set(gauge(measured.store_bytes));
        for (status, count) in [("pending", measured.pending), ("dead", measured.dead)] {
            self.deliveries.get_or_create(&DeliveryLabel { status }).set(gauge(Some(count)));
        }
        self.delivery_oldest_seconds.set(gauge(Some(measured.oldest_seconds)));
        self.backup_timestamp.set(gauge(Some(measured.backup.unwrap_or_default())));
        let mut text = String::new();
        let written = encode(&mut text, &self.registry);
        debug_assert!(written.is_ok(), "a string takes everything");
        text
    }
}
