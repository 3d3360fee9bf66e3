//! Notices: facts and wishes that one feature announces to all others within the turn, as plain data.

use crate::wire::message::History;
use crate::wire::proto::HistorySync;
use crate::wire::{Jid, Node};

/// State of a lookup at the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) enum Lookup {
    /// A feature needs the result.
    Wanted,
    Known,
    /// The service refused it permanently.
    Refused,
    /// No response, or a temporary refusal.
    Unanswered,
}

/// A notice. Every feature gets every notice, in the order of the list of features.
#[derive(Debug)]
pub(in crate::account) enum Notice {
    // The account.
    /// The account was loaded; announced before its first input.
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
    /// The connection is closed; all per-connection state is void.
    Disconnected,
    /// A batch of the offline backlog has arrived; the next one is about to be requested.
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
    /// The service has prekeys of ours for new sessions.
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
    /// A stanza names another LID of this phone number than the one we know.
    MappingDoubted {
        pn: Jid,
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
    /// A message from our own phone carries a part of the history.
    HistoryReceived(History),
    HistoryPage(Box<HistorySync>),
    /// A poison stanza is skipped: it brought the account down twice.
    Poison(Box<Node>),
}
