//! Settings shared by all accounts.

pub(in crate::account) mod client_version;
pub(in crate::account) mod connect_rate;

use crate::signal::{JumpLimit, PublicKey};
use client_version::SharedVersion;
use connect_rate::ConnectRate;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a process, the same for all accounts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The root that the service's certificate must lead to.
    pub root_key: PublicKey,
    pub version: Arc<SharedVersion>,
    /// The name shown under "linked devices".
    pub device_name: String,
    /// One-time prekeys uploaded at a time.
    pub prekey_batch: u32,
    /// Forward jump limits: messages of one chain that may be skipped, from others and from our own devices.
    pub jump_limit: JumpLimit,
    pub jump_limit_own: JumpLimit,
    pub retention: Retention,
    /// Incoming calls are rejected.
    pub reject_calls: bool,
    /// Connects per second of all accounts together.
    pub connect_rate: Arc<ConnectRate>,
}

/// How long records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Our messages and their status.
    pub messages: Duration,
    /// Inbox records, which deduplicate deliveries.
    pub inbox: Duration,
    /// Sent messages, for resends.
    pub sent: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        Self { messages: days(30), inbox: days(30), sent: Duration::from_secs(2 * 60 * 60) }
    }
}
