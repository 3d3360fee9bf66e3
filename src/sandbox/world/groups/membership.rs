//! Groups: who is in them, what they are called, and who may change that (`sandbox-service.md` 5.3).

use crate::sandbox::world::persistence::rows::Row;
use crate::sandbox::world::{DeviceId, World, WorldError};
use crate::wire::{Jid, Node, Server};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Members that a group can have.
const MAX_MEMBERS: usize = 1024;
const MAX_SUBJECT: usize = 100;
const MAX_DESCRIPTION: usize = 2048;

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    Member,
    Admin,
    /// Who created the group: cannot be demoted.
    Superadmin,
}

impl MemberRole {
    fn attribute(self) -> Option<&'static str> {
        match self {
            Self::Member => None,
            Self::Admin => Some("admin"),
            Self::Superadmin => Some("superadmin"),
        }
    }
}

/// A change of who is in a group.
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

/// A text somebody gave the group, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::world) struct Given {
    pub(in crate::sandbox::world) id: String,
    pub(in crate::sandbox::world) text: String,
    pub(in crate::sandbox::world) by: String,
    pub(in crate::sandbox::world) at: u64,
}

/// A group, its members by phone number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::world) struct Group {
    pub(in crate::sandbox::world) subject: Given,
    pub(in crate::sandbox::world) description: Option<Given>,
    pub(in crate::sandbox::world) creator: String,
    pub(in crate::sandbox::world) created: u64,
    pub(in crate::sandbox::world) members: BTreeMap<String, MemberRole>,
    /// Only admins write.
    pub(in crate::sandbox::world) announcement: bool,
    /// Only admins change subject and description.
    pub(in crate::sandbox::world) locked: bool,
    /// Messages disappear after so many seconds; 0 is never.
    pub(in crate::sandbox::world) ephemeral: u64,
    pub(in crate::sandbox::world) invite: String,
}

/// A group, as the control API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupSummary {
    pub id: String,
    pub subject: String,
    pub description: Option<String>,
    pub creator: String,
    pub participants: Vec<MemberSummary>,
    pub announcement: bool,
    pub locked: bool,
    pub invite: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberSummary {
    pub number: String,
    pub lid: String,
    pub role: MemberRole,
}

/// Why the service does not do what a device asks: a code and its text.
pub(in crate::sandbox::world) type Refusal = (u64, &'static str);
const FORBIDDEN: Refusal = (403, "forbidden");
pub(in crate::sandbox::world) const NOT_FOUND: Refusal = (404, "item-not-found");
pub(in crate::sandbox::world) const BAD_REQUEST: Refusal = (400, "bad-request");

impl World {
    /// A group of these people, made by `creator`.
    pub fn create_group(
        &mut self,
        subject: &str,
        creator: &str,
        participants: &[String],
    ) -> Result<GroupSummary, WorldError> {
        for number in participants.iter().map(String::as_str).chain([creator]) {
            self.accounts.get(number).ok_or_else(|| WorldError::NoPhone(number.to_owned()))?;
        }
        let id = self.new_group(creator, subject, participants).map_err(|(_, why)| WorldError::Refused(why))?;
        self.group(&id.to_string())
    }

    /// All groups.
    pub fn groups(&self) -> Vec<GroupSummary> {
        self.groups.keys().filter_map(|id| self.group(&id.to_string()).ok()).collect()
    }

    pub fn group(&self, id: &str) -> Result<GroupSummary, WorldError> {
        let unknown = || WorldError::NoGroup(id.to_owned());
        let jid = if id.contains('@') { Jid::parse(id).map_err(|_| unknown())? } else { Jid::new(id, Server::Group) };
        let group = self.groups.get(&jid).ok_or_else(unknown)?;
        let member = |(number, role): (&String, &MemberRole)| {
            let lid = self.accounts.get(number)?.lid.to_string();
            Some(MemberSummary { number: number.clone(), lid, role: *role })
        };
        Ok(GroupSummary {
            id: jid.to_string(),
            subject: group.subject.text.clone(),
            description: group.description.as_ref().map(|given| given.text.clone()),
            creator: group.creator.clone(),
            participants: group.members.iter().filter_map(member).collect(),
            announcement: group.announcement,
            locked: group.locked,
            invite: group.invite.clone(),
        })
    }

    /// Changes who is in a group, as `by` (its creator when nobody is named).
    pub fn change_participants(
        &mut self,
        id: &str,
        by: Option<&str>,
        change: MemberChange,
        numbers: &[String],
    ) -> Result<GroupSummary, WorldError> {
        let group = self.group(id)?;
        let jid = Jid::parse(&group.id).map_err(|_| WorldError::NoGroup(id.to_owned()))?;
        let by = by.unwrap_or(&group.creator);
        let people: Vec<Jid> = numbers.iter().map(|number| Jid::pn(number.as_str())).collect();
        let results = self.change_members(by, &jid, change, &people);
        let results = results.map_err(|(_, why)| WorldError::Refused(why))?;
        if let Some((person, _)) = results.iter().find(|(_, error)| error.is_some()) {
            return Err(WorldError::NotChanged(person.user().to_owned(), change.tag()));
        }
        self.group(id)
    }

    pub(in crate::sandbox::world) fn group_members(&self, group: &Jid) -> Option<BTreeSet<String>> {
        Some(self.groups.get(group)?.members.keys().cloned().collect())
    }

    /// Every device of every member.
    pub(in crate::sandbox::world) fn devices_of_group(&self, group: &Jid) -> BTreeSet<DeviceId> {
        let members = self.groups.get(group).map(|group| group.members.keys());
        members.into_iter().flatten().flat_map(|number| self.devices_of(number)).collect()
    }

    pub(in crate::sandbox::world) fn new_group(
        &mut self,
        creator: &str,
        subject: &str,
        people: &[String],
    ) -> Result<Jid, Refusal> {
        if subject.chars().count() > MAX_SUBJECT || people.len() >= MAX_MEMBERS {
            return Err(BAD_REQUEST);
        }
        let id = format!("120363{:012}", self.rng.random_range(0..1_000_000_000_000u64));
        let id = Jid::new(id, Server::Group);
        let mut members: BTreeMap<String, MemberRole> =
            people.iter().map(|number| (number.clone(), MemberRole::Member)).collect();
        members.insert(creator.to_owned(), MemberRole::Superadmin);
        let group = Group {
            subject: self.given(creator, subject),
            description: None,
            creator: creator.to_owned(),
            created: self.now.secs(),
            members,
            announcement: false,
            locked: false,
            ephemeral: 0,
            invite: self.new_invite(),
        };
        self.groups.insert(id.clone(), group);
        self.touch(|| Row::Group(id.clone()));
        if let Some(group) = self.group_node(&id) {
            let key = self.new_stanza_id();
            let create = Node::new("create").attr("type", "new").attr("key", key).attr("reason", "invite").child(group);
            self.notify_group(&id, creator, &BTreeSet::new(), create);
        }
        Ok(id)
    }

    fn given(&mut self, by: &str, text: &str) -> Given {
        Given { id: self.new_stanza_id(), text: text.to_owned(), by: by.to_owned(), at: self.now.secs() }
    }

    fn new_invite(&mut self) -> String {
        const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..22).map(|_| char::from(SYMBOLS[self.rng.random_range(0..SYMBOLS.len())])).collect()
    }

    fn role(&self, group: &Jid, number: &str) -> Result<MemberRole, Refusal> {
        let group = self.groups.get(group).ok_or(NOT_FOUND)?;
        group.members.get(number).copied().ok_or(FORBIDDEN)
    }

    fn admin(&self, group: &Jid, number: &str) -> Result<(), Refusal> {
        if self.role(group, number)? == MemberRole::Member { Err(FORBIDDEN) } else { Ok(()) }
    }

    fn group_mut(&mut self, group: &Jid) -> Result<&mut Group, Refusal> {
        self.touch(|| Row::Group(group.clone()));
        self.groups.get_mut(group).ok_or(NOT_FOUND)
    }

    /// Whom of `people` it did not concern is named with a code.
    pub(in crate::sandbox::world) fn change_members(
        &mut self,
        by: &str,
        group: &Jid,
        change: MemberChange,
        people: &[Jid],
    ) -> Result<Vec<(Jid, Option<u64>)>, Refusal> {
        self.admin(group, by)?;
        let mut results = Vec::new();
        let mut changed = BTreeSet::new();
        for person in people {
            let number = self.number_of(person);
            let members = &mut self.group_mut(group)?.members;
            let error = match (number, change) {
                (None, _) => Some(404),
                (Some(number), MemberChange::Add) if members.contains_key(&number) => Some(409),
                (Some(_), MemberChange::Add) if members.len() >= MAX_MEMBERS => Some(419),
                (Some(number), MemberChange::Add) => {
                    members.insert(number.clone(), MemberRole::Member);
                    changed.insert(number);
                    None
                }
                (Some(number), _) => match (members.get(&number).copied(), change) {
                    (None, _) => Some(404),
                    (Some(MemberRole::Superadmin), _) => Some(405),
                    (Some(_), MemberChange::Remove) => {
                        members.remove(&number);
                        changed.insert(number);
                        None
                    }
                    (Some(_), _) => {
                        let promoted = change == MemberChange::Promote;
                        let role = if promoted { MemberRole::Admin } else { MemberRole::Member };
                        members.insert(number.clone(), role);
                        changed.insert(number);
                        None
                    }
                },
            };
            results.push((person.clone(), error));
        }
        self.notify_members(group, by, change, &changed);
        Ok(results)
    }

    fn notify_members(&mut self, group: &Jid, by: &str, change: MemberChange, changed: &BTreeSet<String>) {
        if changed.is_empty() {
            return;
        }
        let named = changed.iter().filter_map(|number| self.accounts.get(number));
        let named: Vec<Node> = named
            .map(|account| Node::new("participant").attr("jid", &account.lid).attr("phone_number", &account.pn))
            .collect();
        let gone = if change == MemberChange::Remove { changed.clone() } else { BTreeSet::new() };
        self.notify_group(group, by, &gone, Node::new(change.tag()).children(named));
    }

    pub(in crate::sandbox::world) fn set_subject(&mut self, by: &str, id: &Jid, subject: &str) -> Result<(), Refusal> {
        self.may_edit(id, by)?;
        if subject.is_empty() || subject.chars().count() > MAX_SUBJECT {
            return Err(BAD_REQUEST);
        }
        let given = self.given(by, subject);
        self.group_mut(id)?.subject = given.clone();
        let who = self.accounts.get(by).map(|account| account.lid.clone());
        let change = Node::new("subject").attr("subject", given.text).attr("s_t", given.at).maybe("s_o", who);
        self.notify_group(id, by, &BTreeSet::new(), change);
        Ok(())
    }

    /// `None` takes the description away.
    pub(in crate::sandbox::world) fn set_description(
        &mut self,
        by: &str,
        id: &Jid,
        text: Option<&str>,
    ) -> Result<(), Refusal> {
        self.may_edit(id, by)?;
        if text.is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
            return Err(BAD_REQUEST);
        }
        let given = text.map(|text| self.given(by, text));
        self.group_mut(id)?.description = given.clone();
        let change = match given {
            Some(given) => {
                Node::new("description").attr("id", given.id).child(Node::new("body").bytes(given.text.into_bytes()))
            }
            None => Node::new("description").child(Node::new("delete")),
        };
        self.notify_group(id, by, &BTreeSet::new(), change);
        Ok(())
    }

    fn may_edit(&self, id: &Jid, by: &str) -> Result<(), Refusal> {
        let locked = self.groups.get(id).ok_or(NOT_FOUND)?.locked;
        if locked { self.admin(id, by) } else { self.role(id, by).map(|_| ()) }
    }

    /// A switch of the group, named by its tag: `announcement`, `not_announcement`, `locked`, `unlocked`, `ephemeral`,
    /// `not_ephemeral`.
    pub(in crate::sandbox::world) fn set_switch(&mut self, by: &str, id: &Jid, switch: &Node) -> Result<(), Refusal> {
        self.admin(id, by)?;
        let group = self.group_mut(id)?;
        let tag = match switch.tag.as_ref() {
            "announcement" => {
                group.announcement = true;
                "announcement"
            }
            "not_announcement" => {
                group.announcement = false;
                "not_announcement"
            }
            "locked" => {
                group.locked = true;
                "locked"
            }
            "unlocked" => {
                group.locked = false;
                "unlocked"
            }
            "ephemeral" => {
                group.ephemeral = switch.number("expiration").unwrap_or_default();
                "ephemeral"
            }
            "not_ephemeral" => {
                group.ephemeral = 0;
                "not_ephemeral"
            }
            _ => return Err(BAD_REQUEST),
        };
        let change = Node::new(tag).maybe("expiration", switch.get("expiration").cloned());
        self.notify_group(id, by, &BTreeSet::new(), change);
        Ok(())
    }

    pub(in crate::sandbox::world) fn invite_code(
        &mut self,
        by: &str,
        id: &Jid,
        renewed: bool,
    ) -> Result<String, Refusal> {
        self.admin(id, by)?;
        if renewed {
            let code = self.new_invite();
            self.group_mut(id)?.invite = code.clone();
            self.notify_group(id, by, &BTreeSet::new(), Node::new("invite").attr("code", code));
        }
        self.groups.get(id).map(|group| group.invite.clone()).ok_or(NOT_FOUND)
    }

    /// The group an invitation is for.
    pub(in crate::sandbox::world) fn invited_to(&self, code: &str) -> Result<Jid, Refusal> {
        let found = self.groups.iter().find(|(_, group)| group.invite == code);
        found.map(|(id, _)| id.clone()).ok_or((406, "not-acceptable"))
    }

    pub(in crate::sandbox::world) fn join_group(&mut self, who: &str, code: &str) -> Result<Jid, Refusal> {
        let id = self.invited_to(code)?;
        let members = &mut self.group_mut(&id)?.members;
        if members.contains_key(who) {
            return Err((409, "conflict"));
        }
        members.insert(who.to_owned(), MemberRole::Member);
        self.notify_members(&id, who, MemberChange::Add, &BTreeSet::from([who.to_owned()]));
        Ok(id)
    }

    pub(in crate::sandbox::world) fn leave_group(&mut self, who: &str, id: &Jid) -> Result<(), Refusal> {
        self.role(id, who)?;
        self.group_mut(id)?.members.remove(who);
        self.notify_members(id, who, MemberChange::Remove, &BTreeSet::from([who.to_owned()]));
        Ok(())
    }

    /// `<group>` with all that its members know of it.
    pub(in crate::sandbox::world) fn group_node(&self, id: &Jid) -> Option<Node> {
        let group = self.groups.get(id)?;
        let lid = |number: &str| self.accounts.get(number).map(|account| account.lid.clone());
        let members = group.members.iter().filter_map(|(number, role)| {
            let account = self.accounts.get(number)?;
            let named = Node::new("participant").attr("jid", &account.lid).attr("phone_number", &account.pn);
            Some(named.maybe("type", role.attribute()))
        });
        let node = Node::new("group")
            .attr("id", id.user().to_owned())
            .attr("creation", group.created)
            .maybe("creator", lid(&group.creator))
            .maybe("creator_pn", self.accounts.get(&group.creator).map(|account| account.pn.clone()))
            .attr("subject", group.subject.text.clone())
            .attr("s_t", group.subject.at)
            .maybe("s_o", lid(&group.subject.by))
            .attr("addressing_mode", "lid")
            .attr("size", group.members.len())
            .children(members);
        let switch = |on: bool, tag| on.then(|| Node::new(tag));
        let description = group.description.as_ref().map(|given| {
            let body = Node::new("body").bytes(given.text.clone().into_bytes());
            let node = Node::new("description").attr("id", given.id.clone()).attr("t", given.at);
            node.maybe("participant", lid(&given.by)).child(body)
        });
        let ephemeral = (group.ephemeral > 0).then(|| Node::new("ephemeral").attr("expiration", group.ephemeral));
        let more = [switch(group.announcement, "announcement"), switch(group.locked, "locked"), ephemeral, description];
        Some(node.children(more.into_iter().flatten()))
    }

    /// Tells every device of every member, and of those who are gone by it.
    fn notify_group(&mut self, id: &Jid, by: &str, gone: &BTreeSet<String>, change: Node) {
        let Some(actor) = self.accounts.get(by) else { return };
        let notification = Node::new("notification")
            .attr("from", id)
            .attr("type", "w:gp2")
            .attr("t", self.now.secs())
            .attr("participant", &actor.lid)
            .attr("participant_pn", &actor.pn)
            .attr("addressing_mode", "lid")
            .attr("notify", actor.name.clone())
            .child(change);
        let mut devices = self.devices_of_group(id);
        devices.extend(gone.iter().flat_map(|number| self.devices_of(number)));
        for device in devices.into_iter().filter(|device| device.device != 0) {
            let notification = notification.clone().attr("id", self.new_stanza_id());
            self.deliver(&device, notification);
        }
    }
}
