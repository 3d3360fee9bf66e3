//! Groups and their members.

use crate::sandbox::world::refusal::{FORBIDDEN, NOT_FOUND, Refusal};
use crate::wire::Jid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    Member,
    Admin,
    /// The creator of the group: cannot be demoted.
    Superadmin,
}

impl MemberRole {
    pub(in crate::sandbox::world) fn attribute(self) -> Option<&'static str> {
        match self {
            Self::Member => None,
            Self::Admin => Some("admin"),
            Self::Superadmin => Some("superadmin"),
        }
    }
}

/// A change of a group's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberChange {
    Add,
    Remove,
    Promote,
    Demote,
}

impl MemberChange {
    pub(in crate::sandbox::world) const ALL: [Self; 4] = [Self::Add, Self::Remove, Self::Promote, Self::Demote];

    pub(in crate::sandbox::world) fn tag(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Promote => "promote",
            Self::Demote => "demote",
        }
    }
}

/// A subject or a description, its author and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::world) struct GroupText {
    pub(in crate::sandbox::world) id: String,
    pub(in crate::sandbox::world) text: String,
    pub(in crate::sandbox::world) by: String,
    pub(in crate::sandbox::world) at: u64,
}

/// A group, its members by phone number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::world) struct Group {
    pub(in crate::sandbox::world) subject: GroupText,
    pub(in crate::sandbox::world) description: Option<GroupText>,
    pub(in crate::sandbox::world) creator: String,
    pub(in crate::sandbox::world) created: u64,
    pub(in crate::sandbox::world) members: BTreeMap<String, MemberRole>,
    /// Whether only admins may send.
    pub(in crate::sandbox::world) announcement: bool,
    /// Whether only admins may change subject and description.
    pub(in crate::sandbox::world) locked: bool,
    /// Seconds after which messages disappear; 0 is never.
    pub(in crate::sandbox::world) ephemeral: u64,
    pub(in crate::sandbox::world) invite: String,
}

impl Group {
    pub(in crate::sandbox::world) fn role(&self, number: &str) -> Result<MemberRole, Refusal> {
        self.members.get(number).copied().ok_or(FORBIDDEN)
    }

    pub(in crate::sandbox::world) fn require_admin(&self, number: &str) -> Result<(), Refusal> {
        if self.role(number)? == MemberRole::Member { Err(FORBIDDEN) } else { Ok(()) }
    }

    /// Whether a member may change subject and description.
    pub(in crate::sandbox::world) fn require_editor(&self, number: &str) -> Result<(), Refusal> {
        if self.locked { self.require_admin(number) } else { self.role(number).map(drop) }
    }

    pub(in crate::sandbox::world) fn may_send(&self, number: &str) -> bool {
        self.role(number).is_ok_and(|role| !self.announcement || role != MemberRole::Member)
    }
}

#[derive(Default)]
pub(in crate::sandbox::world) struct Groups {
    by_id: BTreeMap<Jid, Group>,
}

impl Groups {
    pub(in crate::sandbox::world) fn insert(&mut self, id: Jid, group: Group) {
        self.by_id.insert(id, group);
    }

    pub(in crate::sandbox::world) fn find(&self, id: &Jid) -> Option<&Group> {
        self.by_id.get(id)
    }

    pub(in crate::sandbox::world) fn get(&self, id: &Jid) -> Result<&Group, Refusal> {
        self.find(id).ok_or(NOT_FOUND)
    }

    pub(in crate::sandbox::world) fn get_mut(&mut self, id: &Jid) -> Result<&mut Group, Refusal> {
        self.by_id.get_mut(id).ok_or(NOT_FOUND)
    }

    pub(in crate::sandbox::world) fn ids(&self) -> impl Iterator<Item = &Jid> {
        self.by_id.keys()
    }

    pub(in crate::sandbox::world) fn members(&self, id: &Jid) -> Option<BTreeSet<String>> {
        Some(self.find(id)?.members.keys().cloned().collect())
    }

    /// Groups of a person.
    pub(in crate::sandbox::world) fn joined_by(&self, number: &str) -> impl Iterator<Item = &Jid> {
        self.by_id.iter().filter(move |(_, group)| group.members.contains_key(number)).map(|(id, _)| id)
    }

    /// The group of an invite code.
    pub(in crate::sandbox::world) fn invited_to(&self, code: &str) -> Result<Jid, Refusal> {
        let found = self.by_id.iter().find(|(_, group)| group.invite == code);
        found.map(|(id, _)| id.clone()).ok_or((406, "not-acceptable"))
    }
}
