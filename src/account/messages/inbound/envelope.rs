//! The envelope of a message stanza, read once (`wire-protocol.md` 1.13).

use crate::account::own_device::Linked;
use crate::account::turn::inbox::InboxKey;
use crate::base::ids::MessageId;
use crate::base::time::Timestamp;
use crate::wire::{Jid, Node, WireError};

pub(in crate::account::messages) struct Envelope {
    pub(in crate::account::messages) id: MessageId,
    /// The sending device, as the stanza names it.
    pub(in crate::account::messages) from: Jid,
    /// The chat: a contact or a group.
    pub(in crate::account::messages) chat: Jid,
    pub(super) timestamp: Timestamp,
    pub(super) name: Option<String>,
    /// True when another device of ours sent the message.
    pub(in crate::account::messages) own: bool,
    pub(in crate::account::messages) peer: bool,
    /// True when the message is from the offline backlog.
    pub(in crate::account::messages) offline: bool,
}

impl Envelope {
    pub(super) fn read(own: Option<&Linked>, node: &Node) -> Result<Self, WireError> {
        let from = node.require_jid("from")?;
        let sender = node.jid("participant").unwrap_or_else(|| from.clone());
        if sender.is_shared() {
            // A group does not write: the one who does has a name.
            return Err(WireError::Malformed { what: "sender of a message" });
        }
        let own = own.is_some_and(|own| own.is_own_user(&sender));
        let chat = match node.jid("recipient") {
            Some(recipient) if own => recipient.bare(),
            _ => from.bare(),
        };
        Ok(Self {
            id: MessageId::new(node.require_text("id")?.into_owned()),
            from: sender,
            chat,
            timestamp: Timestamp::from_secs(node.number("t").unwrap_or_default()),
            name: node.text("notify").map(|name| name.into_owned()).filter(|name| !name.is_empty()),
            own,
            peer: node.is("category", "peer"),
            offline: node.has("offline"),
        })
    }

    /// True when the message was encrypted with a sender key.
    pub(in crate::account::messages) fn is_shared(&self) -> bool {
        self.chat.is_shared()
    }

    /// Names (chat, sender, id).
    pub(super) fn inbox_key(&self) -> InboxKey {
        InboxKey::of(&[&self.chat.to_string(), &self.from.bare().to_string(), self.id.as_str()])
    }
}

/// The pairs of phone number and LID that a stanza names.
pub(super) fn address_pairs(node: &Node) -> Vec<(Jid, Jid)> {
    let named = [
        ("sender_lid", "sender_pn", "from"),
        ("participant_lid", "participant_pn", "participant"),
        ("recipient_lid", "recipient_pn", "recipient"),
        ("peer_recipient_lid", "peer_recipient_pn", "recipient"),
    ];
    let pair = |(lid_key, pn_key, named): (&str, &str, &str)| {
        let base = node.jid(named);
        match (node.jid(pn_key), node.jid(lid_key)) {
            (Some(pn), None) => Some((pn, base?)),
            (None, Some(lid)) => Some((base?, lid)),
            (Some(pn), Some(lid)) => Some((pn, lid)),
            (None, None) => None,
        }
    };
    named.into_iter().filter_map(pair).collect()
}
