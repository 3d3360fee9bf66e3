//! Metadata of a group: its members and how they are addressed (`wire-protocol.md` 1.15).

use crate::account::codec;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::notice::Notice;
use crate::storage::kind;
use crate::wire::{Jid, Node, Server};
use serde::{Deserialize, Serialize};

/// A member, by both addresses where the service names both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::account) struct Member {
    pub(in crate::account) jid: Jid,
    /// The address in the other namespace.
    pub(in crate::account) other: Option<Jid>,
    pub(in crate::account) admin: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::account) struct GroupMeta {
    pub(in crate::account) subject: String,
    /// True when members are addressed by LID, false when by phone number.
    pub(in crate::account) by_lid: bool,
    pub(in crate::account) members: Vec<Member>,
    /// True when the group has changed since: good enough to check who may get a resend, not to choose recipients.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::account) stale: bool,
}

impl GroupMeta {
    pub(in crate::account) fn read(group: &Node) -> Self {
        let mut members = Vec::new();
        for participant in group.all("participant") {
            // A bot is a member that no message is encrypted for; a malformed address is nobody's.
            let Some(jid) = participant.jid("jid").map(|jid| jid.bare()).filter(Jid::is_user) else { continue };
            let other = participant.jid("phone_number").or_else(|| participant.jid("lid"));
            let admin = participant.is("type", "admin") || participant.is("type", "superadmin");
            members.push(Member { jid, other: other.map(|it| it.bare()), admin });
        }
        let by_lid = match group.text("addressing_mode").as_deref() {
            Some(mode) => mode == "lid",
            None => members.iter().all(|member| member.jid.server() == Server::Lid),
        };
        let subject = group.text("subject").unwrap_or_default().into_owned();
        Self { subject, by_lid, members, stale: false }
    }

    /// The pairs of phone number and LID in it.
    pub(in crate::account) fn pairs(&self) -> Vec<(Jid, Jid)> {
        let pair = |member: &Member| {
            let other = member.other.clone()?;
            Some(if member.jid.server() == Server::Lid {
                (other, member.jid.clone())
            } else {
                (member.jid.clone(), other)
            })
        };
        self.members.iter().filter_map(pair).collect()
    }
}

/// The stored metadata of a group, stale or not. A record that cannot be read counts as missing: the service has it.
pub(in crate::account) fn of(turn: &Turn<'_>, group: &Jid) -> Result<Option<GroupMeta>, AccountError> {
    let Some(stored) = turn.get(kind::GROUP, group.to_string().as_bytes())? else { return Ok(None) };
    let read = codec::decode_json(&stored, "group");
    if let Err(error) = &read {
        tracing::warn!(account = %turn.ctx.id, group = %group.redacted(), %error, "group metadata is queried again");
    }
    Ok(read.ok())
}

/// The stored metadata of a group; `None` when it must be queried.
pub(in crate::account) fn fresh(turn: &Turn<'_>, group: &Jid) -> Result<Option<GroupMeta>, AccountError> {
    Ok(of(turn, group)?.filter(|meta| !meta.stale))
}

pub(super) fn put(turn: &mut Turn<'_>, group: &Jid, meta: &GroupMeta) {
    turn.put(kind::GROUP, group.to_string(), codec::encode_json(meta));
}

/// A group has changed: its metadata is queried before the next message to it, queued ones included.
pub(in crate::account) fn mark_changed(turn: &mut Turn<'_>, group: &Jid) -> Result<(), AccountError> {
    if let Some(meta) = fresh(turn, group)? {
        put(turn, group, &GroupMeta { stale: true, ..meta });
    }
    turn.announce(Notice::GroupChanged { group: group.clone() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(mode: &'static str) -> Node {
        let member = |jid: &str, pn: &str| {
            Node::new("participant").attr("jid", Jid::parse(jid).unwrap()).attr("phone_number", Jid::parse(pn).unwrap())
        };
        Node::new("group").attr("subject", "crew").attr("addressing_mode", mode).children([
            member("7@lid", "15550000007@s.whatsapp.net").attr("type", "superadmin"),
            member("8@lid", "15550000008@s.whatsapp.net"),
        ])
    }

    #[test]
    fn a_group_is_read_with_its_members_by_both_addresses() {
        let meta = GroupMeta::read(&group("lid"));
        assert!(meta.by_lid && meta.members[0].admin && !meta.members[1].admin);
        let expected = (Jid::pn("15550000008"), Jid::new("8", Server::Lid));
        assert_eq!(meta.pairs()[1], expected);
        assert!(!GroupMeta::read(&group("pn")).by_lid);
    }

    #[test]
    fn a_member_without_an_address_and_a_bot_are_left_out() {
        let bot = Node::new("participant").attr("jid", Jid::new("12", Server::Bot));
        let malformed = Node::new("participant").attr("jid", "no user:1@@lid");
        assert_eq!(GroupMeta::read(&group("lid").children([bot, malformed])), GroupMeta::read(&group("lid")));
    }

    #[test]
    fn a_group_has_the_golden_form() {
        let meta = GroupMeta::read(&group("lid"));
        let stored = codec::encode_json(&meta);
        crate::golden::check("group-v1.json", &stored[1..]);
        assert_eq!(codec::decode_json::<GroupMeta>(&stored, "group").unwrap(), meta);
    }
}
