//! Members of a group: created with, added, removed, promoted, demoted, joined by invite, left (`sandbox-service.md` 5.3).

use super::group::{Group, MemberChange, MemberRole};
use super::metadata::check_subject;
use crate::sandbox::world::refusal::{BAD_REQUEST, Refusal};
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node, Server};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};

const MAX_MEMBERS: usize = 1024;

impl World {
    pub(in crate::sandbox::world) fn new_group(
        &mut self,
        creator: &str,
        subject: &str,
        people: &[String],
    ) -> Result<Jid, Refusal> {
        if people.len() >= MAX_MEMBERS {
            return Err(BAD_REQUEST);
        }
        check_subject(subject)?;
        let id = format!("120363{:012}", self.rng.random_range(0..1_000_000_000_000u64));
        let id = Jid::new(id, Server::Group);
        let mut members: BTreeMap<String, MemberRole> =
            people.iter().map(|number| (number.clone(), MemberRole::Member)).collect();
        members.insert(creator.to_owned(), MemberRole::Superadmin);
        let group = Group {
            subject: self.new_text(creator, subject),
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
        self.touch_group(&id);
        if let Some(group) = self.group_node(&id) {
            let key = self.new_stanza_id();
            let create = Node::new("create").attr("type", "new").attr("key", key).attr("reason", "invite").child(group);
            self.notify_group(&id, creator, &BTreeSet::new(), create);
        }
        Ok(id)
    }

    /// Changes members of a group; returns each person with the code of its error, if any.
    pub(in crate::sandbox::world) fn change_members(
        &mut self,
        by: &str,
        id: &Jid,
        change: MemberChange,
        people: &[Jid],
    ) -> Result<Vec<(Jid, Option<u64>)>, Refusal> {
        self.groups.get(id)?.require_admin(by)?;
        let mut results = Vec::new();
        let mut changed = BTreeSet::new();
        for person in people {
            let number = self.registry.number_of(person);
            let members = &mut self.groups.get_mut(id)?.members;
            let outcome = number.ok_or(404).and_then(|number| change_member(members, number, change));
            results.push((person.clone(), outcome.as_ref().err().copied()));
            changed.extend(outcome);
        }
        self.touch_group(id);
        self.notify_members(id, by, change, &changed);
        Ok(results)
    }

    fn notify_members(&mut self, id: &Jid, by: &str, change: MemberChange, changed: &BTreeSet<String>) {
        if changed.is_empty() {
            return;
        }
        let named = changed.iter().filter_map(|number| self.registry.account(number));
        let named: Vec<Node> = named
            .map(|account| Node::new("participant").attr("jid", &account.lid).attr("phone_number", &account.pn))
            .collect();
        let gone = if change == MemberChange::Remove { changed.clone() } else { BTreeSet::new() };
        self.notify_group(id, by, &gone, Node::new(change.tag()).children(named));
    }

    pub(in crate::sandbox::world) fn join_group(&mut self, number: &str, code: &str) -> Result<Jid, Refusal> {
        let id = self.groups.invited_to(code)?;
        let members = &mut self.groups.get_mut(&id)?.members;
        if members.contains_key(number) {
            return Err((409, "conflict"));
        }
        members.insert(number.to_owned(), MemberRole::Member);
        self.touch_group(&id);
        self.notify_members(&id, number, MemberChange::Add, &BTreeSet::from([number.to_owned()]));
        Ok(id)
    }

    pub(in crate::sandbox::world) fn leave_group(&mut self, number: &str, id: &Jid) -> Result<(), Refusal> {
        let group = self.groups.get_mut(id)?;
        group.role(number)?;
        group.members.remove(number);
        self.touch_group(id);
        self.notify_members(id, number, MemberChange::Remove, &BTreeSet::from([number.to_owned()]));
        Ok(())
    }
}

/// The changed member, or the code of the error.
fn change_member(
    members: &mut BTreeMap<String, MemberRole>,
    number: String,
    change: MemberChange,
) -> Result<String, u64> {
    match (members.get(&number), change) {
        (Some(_), MemberChange::Add) => return Err(409),
        (None, MemberChange::Add) if members.len() >= MAX_MEMBERS => return Err(419),
        (None, MemberChange::Add) => drop(members.insert(number.clone(), MemberRole::Member)),
        (None, _) => return Err(404),
        (Some(MemberRole::Superadmin), _) => return Err(405),
        (Some(_), MemberChange::Remove) => drop(members.remove(&number)),
        (Some(_), MemberChange::Promote) => drop(members.insert(number.clone(), MemberRole::Admin)),
        (Some(_), MemberChange::Demote) => drop(members.insert(number.clone(), MemberRole::Member)),
    }
    Ok(number)
}
