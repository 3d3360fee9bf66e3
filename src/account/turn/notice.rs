//! Notices: facts and wishes that one feature announces to all others, within the turn. Plain data.

use crate::wire::message::History;
use crate::wire::proto::HistorySync;
use crate::wire::{Jid, Node};

/// Where a lookup at the service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) enum Lookup {
    /// A feature waits for it.
    Wanted,
    Known,
    /// The service refused it for good.
    Refused,
    /// No response, or a refusal that may pass.
    Unanswered,
}

/// A notice. Every feature gets every notice, in the order of the list of features.
#[derive(Debug)]
pub(in crate::account) enum Notice {
    // The account.
    /// The account was loaded; nothing has happened yet.
    Resuming,
    /// The account was restored from a backup. `first` on the first start since.
    Restored {
        first: bool,
    },

    // The connection.
    /// A feature needs a connection.
    ConnectionWanted,
    HandshakeDone,
    /// The socket is closed.
    ConnectionLost {
        why: String,
    },
    /// `<success>`: the service knows us by this LID.
    LoggedIn {
        lid: Option<Jid>,
    },
    /// The login is finished: messages may be written.
    Online,
    /// The service answered a keep-alive ping.
    Pong,
    /// The connection is closed; everything that belonged to it is void.
    Disconnected,
    /// A batch of the offline backlog has arrived; the next one is about to be asked for.
    BacklogBatch,
    BacklogEnded,
    /// The service does not acknowledge messages.
    Unresponsive {
        reason: &'static str,
    },

    // Linking and prekeys.
    LinkingFailed {
        reason: String,
    },
    /// The service has prekeys of ours to give out.
    PreKeysReady,
    /// The service has the prekeys that replace those of a backup.
    PreKeysReplaced,

    // Contacts.
    Devices {
        users: Vec<Jid>,
        lookup: Lookup,
    },
    DeviceListForgotten,
    /// A message came from a device that its user's list lacks.
    UnlistedDevice {
        device: Jid,
        from_backlog: bool,
    },
    /// A phone number and a LID are one user.
    Mapped {
        pn: Jid,
        lid: Jid,
    },
    IdentityChanged {
        device: Jid,
    },

    // Groups.
    Group {
        group: Jid,
        lookup: Lookup,
    },
    GroupChanged {
        group: Jid,
    },

    // Messages.
    /// The service acknowledged a message to this chat.
    Sent {
        to: Jid,
    },
    /// A message from our own phone carries a piece of history.
    HistoryReceived(History),
    HistoryPage(Box<HistorySync>),
    /// This stanza has brought the account down twice and is skipped.
    Poison(Box<Node>),
}
