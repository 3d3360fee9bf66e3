//! Fault injection: named points at which a test can fail a running server. An argument like the clock; production passes
//! [`NoHooks`].

use std::fmt;

/// A point that a running server passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// A connection has received a frame.
    Received,
    /// A turn begins.
    Router,
    /// A child starts an ask.
    SessionCipher,
    SenderKeys,
    DeviceSync,
    PreKeys,
    /// The committer has gathered turns; nothing is written.
    Staged,
    /// Written to the store, not yet synced.
    Applied,
    /// Durable, not yet reported.
    Synced,
    /// An account's turn is durable; its effects come next.
    Publishing,
    /// A stanza was handed to the socket.
    Written,
    /// The dispatcher attempts a delivery.
    Attempted,
    /// An endpoint has accepted a delivery, which is not stored yet.
    Delivered,
    /// The fleet learns that a tree is down.
    TreeDown,
    /// A tree's actor is ending.
    Stopping,
}

impl Point {
    /// The points around a commit, where a crash must lose nothing and repeat nothing.
    pub const AROUND_COMMIT: [Self; 8] = [
        Self::Received,
        Self::Router,
        Self::Staged,
        Self::Applied,
        Self::Synced,
        Self::Publishing,
        Self::Written,
        Self::Delivered,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Router => "router",
            Self::SessionCipher => "session_cipher",
            Self::SenderKeys => "sender_keys",
            Self::DeviceSync => "device_sync",
            Self::PreKeys => "prekeys",
            Self::Staged => "staged",
            Self::Applied => "applied",
            Self::Synced => "synced",
            Self::Publishing => "publishing",
            Self::Written => "written",
            Self::Attempted => "attempted",
            Self::Delivered => "delivered",
            Self::TreeDown => "tree_down",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Called when a point is reached. It may panic, stop the process or count.
pub trait Hooks: Send + Sync {
    /// `subject` is an account's id, or empty.
    fn reach(&self, point: Point, subject: &str);
}

/// Does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn reach(&self, _: Point, _: &str) {}
}
