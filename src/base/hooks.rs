//! Named points where a test can make things fail. An argument like the clock: production passes [`NoHooks`].

use std::fmt;

/// A point that a running server passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// A connection has received a frame.
    Received,
    /// A turn begins.
    Router,
    /// A child takes an ask.
    SessionCipher,
    SenderKeys,
    DeviceSync,
    PreKeys,
    /// The committer has gathered turns; nothing is written.
    Staged,
    /// Written to the store, not yet synced.
    Applied,
    /// Durable; nobody has been told.
    Synced,
    /// An account's turn is durable; its effects come next.
    Publishing,
    /// A stanza was handed to the socket.
    Written,
    /// The dispatcher attempts a delivery.
    Attempted,
    /// An endpoint has accepted a delivery; that is not stored yet.
    Delivered,
    /// The fleet hears of a tree that went down.
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

/// Something to be told when a point is reached. It may panic, stop the process, or just count.
pub trait Hooks: Send + Sync {
    /// `subject` is whom it concerns: an account's id, or nothing.
    fn reach(&self, point: Point, subject: &str);
}

/// Nothing happens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn reach(&self, _: Point, _: &str) {}
}
