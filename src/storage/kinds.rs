//! Every kind of record, and who owns it.

use std::marker::PhantomData;

/// The owner of a kind of record: only it reads and writes them.
pub trait Owner {
    const NAME: &'static str;
}

/// Owners as types. A module names only its own (`tests/it/layering` checks it).
pub mod owner {
    use super::Owner;

    macro_rules! owners {
        ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
            $($(#[$doc])* #[derive(Debug)] pub enum $name {}
            impl Owner for $name { const NAME: &'static str = stringify!($name); })*
        };
    }

    owners! {
        /// The account's frame: inbox, idempotency, poison counts (`account/turn`, `account/poison.rs`).
        Frame,
        /// Retention and erasure: they remove records of others, and write none.
        Retention,
        /// The linked device (`account/own_device.rs`).
        OwnDevice,
        /// The account's connection.
        Connection,
        /// Messages in both directions.
        Messages,
        /// Groups and their members.
        Groups,
        /// Privacy tokens.
        Privacy,
        /// The first start after a restore.
        Restore,
        /// One-to-one sessions and identities.
        SessionCipher,
        /// Group sender keys, ours and the members'.
        SenderKeys,
        /// Device lists and LID mappings.
        DeviceSync,
        /// One-time and signed prekeys.
        PreKeys,
        /// The server: accounts, webhooks, API keys.
        Server,
        /// The committer: positions in the event log, deliveries of new events.
        Committer,
    }
}

/// A kind of record, owned by `O`.
pub struct Kind<O> {
    code: u8,
    owner: PhantomData<O>,
}

impl<O> Clone for Kind<O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<O> Copy for Kind<O> {}

impl<O> Kind<O> {
    const fn new(code: u8) -> Self {
        Self { code, owner: PhantomData }
    }

    /// The byte in the key.
    pub const fn code(self) -> u8 {
        self.code
    }

    /// The same kind for retention, which removes records of every owner.
    pub const fn aging(self) -> Kind<owner::Retention> {
        Kind::new(self.code)
    }
}

impl<O> PartialEq for Kind<O> {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl<O> std::fmt::Debug for Kind<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kind({:#04x})", self.code)
    }
}

/// Whether keys of this kind begin with the name of a user or group, up to a zero byte or the end: sealed stores hash such
/// names.
pub(super) fn is_named(code: u8) -> bool {
    let sessions = [kind::SESSION.code(), kind::IDENTITY.code(), kind::PN_PEER.code()];
    let users = [kind::DEVICES.code(), kind::LID_OF.code(), kind::PN_OF.code(), kind::PRIVACY_TOKEN.code()];
    let groups = [kind::GROUP.code(), kind::SENDER_KEY.code(), kind::OWN_SENDER_KEY.code(), kind::KEY_HOLDERS.code()];
    code == kind::MEMBER_RESET.code() || sessions.contains(&code) || users.contains(&code) || groups.contains(&code)
}

/// Whether rows of this kind are read again and again within seconds. None of them holds a key.
pub(super) fn is_reread(code: u8) -> bool {
    code == kind::MESSAGE.code() || code == kind::PRIVACY_TOKEN.code() || code == kind::TOKEN_SALT.code()
}

/// The name of a kind in counts.
pub fn kind_name(code: u8) -> &'static str {
    match code {
        0x01 => "devices",
        0x02 | 0x09 => "settings",
        0x03 => "queued_messages",
        0x04 => "messages",
        0x05 => "received_messages",
        0x06 => "events",
        0x07 => "remembered_answers",
        0x08 => "bad_stanzas",
        0x0a => "groups",
        0x0b => "sent_messages",
        0x0c => "authors",
        0x0d | 0x0e => "privacy_tokens",
        0x10 | 0x12 => "sessions",
        0x11 => "identities",
        0x18 | 0x19 => "sender_keys",
        0x1a | 0x1b => "key_holders",
        0x20 => "device_lists",
        0x21 | 0x22 => "addresses",
        0x28..=0x2a => "prekeys",
        0x7f => "chunks",
        _ => "others",
    }
}

/// The kinds. Codes are stored: never renumber one.
pub mod kind {
    use super::{Kind, owner};

    /// Keys and identity of the linked device.
    pub const DEVICE: Kind<owner::OwnDevice> = Kind::new(0x01);
    /// The desired state of the account: started, stopped or logged out.
    pub const DESIRED_STATE: Kind<owner::Connection> = Kind::new(0x02);
    /// Messages not yet acknowledged by the service, by sequence number.
    pub const OUTBOX: Kind<owner::Messages> = Kind::new(0x03);
    /// Our messages and their status, by id.
    pub const MESSAGE: Kind<owner::Messages> = Kind::new(0x04);
    /// Messages received, by a hash of chat, sender and id.
    pub const INBOX: Kind<owner::Frame> = Kind::new(0x05);
    /// How often a stanza has brought the account down, by a hash of it.
    pub const POISON: Kind<owner::Frame> = Kind::new(0x08);
    /// What is still to be settled after a restore.
    pub const RESTORED: Kind<owner::Restore> = Kind::new(0x09);
    /// Answers to repeated requests, by a hash of key and path.
    pub const IDEMPOTENCY: Kind<owner::Frame> = Kind::new(0x07);

    /// Users with sessions or identities under their phone number, by it.
    pub const PN_PEER: Kind<owner::SessionCipher> = Kind::new(0x12);

    /// Groups, by JID.
    pub const GROUP: Kind<owner::Groups> = Kind::new(0x0a);
    /// What was sent, for devices that ask for it again, by id.
    pub const SENT: Kind<owner::Messages> = Kind::new(0x0b);

    /// Who wrote a message in a group, by a hash of chat and id.
    pub const AUTHOR: Kind<owner::Messages> = Kind::new(0x0c);

    /// Privacy tokens, by user.
    pub const PRIVACY_TOKEN: Kind<owner::Privacy> = Kind::new(0x0d);
    /// The salt of tokens for contacts who have given us none.
    pub const TOKEN_SALT: Kind<owner::Privacy> = Kind::new(0x0e);

    /// Members' sender keys in parts, by sender-key name, a zero byte and the part.
    pub const SENDER_KEY: Kind<owner::SenderKeys> = Kind::new(0x18);
    /// Our sender keys, by group.
    pub const OWN_SENDER_KEY: Kind<owner::SenderKeys> = Kind::new(0x19);
    /// The devices that hold our sender key, by group.
    pub const KEY_HOLDERS: Kind<owner::SenderKeys> = Kind::new(0x1a);
    /// The number of a user's last reset, by user; the last number of all under the empty key.
    pub const MEMBER_RESET: Kind<owner::SenderKeys> = Kind::new(0x1b);

    /// Sessions in parts, by Signal address, a zero byte and the part (`signal::Part`).
    pub const SESSION: Kind<owner::SessionCipher> = Kind::new(0x10);
    /// Identities of peers, by Signal address.
    pub const IDENTITY: Kind<owner::SessionCipher> = Kind::new(0x11);

    /// Device lists, by user.
    pub const DEVICES: Kind<owner::DeviceSync> = Kind::new(0x20);
    /// LIDs by phone number.
    pub const LID_OF: Kind<owner::DeviceSync> = Kind::new(0x21);
    /// Phone numbers by LID.
    pub const PN_OF: Kind<owner::DeviceSync> = Kind::new(0x22);

    /// One-time prekeys in blocks, by block number.
    pub const PREKEY_BLOCK: Kind<owner::PreKeys> = Kind::new(0x28);
    /// Signed prekeys, by id.
    pub const SIGNED_PREKEY: Kind<owner::PreKeys> = Kind::new(0x29);
    /// The next prekey id, the requeued batch and the last verified digest.
    pub const PREKEY_MARKS: Kind<owner::PreKeys> = Kind::new(0x2a);

    /// Accounts, by public id.
    pub const ACCOUNT: Kind<owner::Server> = Kind::new(0x40);
    /// Webhook endpoints, by id.
    pub const ENDPOINT: Kind<owner::Server> = Kind::new(0x42);
    /// API keys, by id.
    pub const API_KEY: Kind<owner::Server> = Kind::new(0x44);
    /// The format of the data, and the epoch of the event log.
    pub const META: Kind<owner::Server> = Kind::new(0x45);
    /// Answers to repeated requests that name no account.
    pub const SERVER_IDEMPOTENCY: Kind<owner::Server> = Kind::new(0x46);

    /// Events of an account, by position.
    pub const EVENT: Kind<owner::Committer> = Kind::new(0x06);
    /// Which account an event belongs to, by position.
    pub const EVENT_INDEX: Kind<owner::Committer> = Kind::new(0x41);
    /// Deliveries that are not done, by endpoint and position.
    pub const DELIVERY: Kind<owner::Committer> = Kind::new(0x43);

    /// Wrapped data keys, by account; written by the storage layer itself.
    pub(in crate::storage) const DATA_KEY: u8 = 0x47;
    /// Stands while a store is being restored; written by the storage layer itself.
    pub(in crate::storage) const RESTORING: u8 = 0x48;
    /// Parts of values above the record limit; written by the storage layer itself.
    pub(in crate::storage) const CHUNK: u8 = 0x7f;
}

/// Kinds of records that end with the linked device they belong to. Contacts have tokens of the old device; theirs are sent again.
pub const OF_DEVICE: &[Kind<owner::Retention>] = &[
    kind::SESSION.aging(),
    kind::IDENTITY.aging(),
    kind::PN_PEER.aging(),
    kind::SENDER_KEY.aging(),
    kind::OWN_SENDER_KEY.aging(),
    kind::KEY_HOLDERS.aging(),
    kind::MEMBER_RESET.aging(),
    kind::PREKEY_BLOCK.aging(),
    kind::SIGNED_PREKEY.aging(),
    kind::PREKEY_MARKS.aging(),
    kind::OUTBOX.aging(),
    kind::SENT.aging(),
    kind::RESTORED.aging(),
    kind::TOKEN_SALT.aging(),
    kind::PRIVACY_TOKEN.aging(),
    kind::DESIRED_STATE.aging(),
];
