//! Groups in the control API.

use super::group::{MemberChange, MemberRole};
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Server};
use serde::Serialize;

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

impl World {
    /// Creates a group of these people.
    pub fn create_group(
        &mut self,
        subject: &str,
        creator: &str,
        participants: &[String],
    ) -> Result<GroupSummary, WorldError> {
        for number in participants.iter().map(String::as_str).chain([creator]) {
            self.require_phone(number)?;
        }
        let id = self.new_group(creator, subject, participants).map_err(|(_, why)| WorldError::Refused(why))?;
        self.group(&id.to_string())
    }

    pub fn groups(&self) -> Vec<GroupSummary> {
        self.groups.ids().filter_map(|id| self.group(&id.to_string()).ok()).collect()
    }

    pub fn group(&self, id: &str) -> Result<GroupSummary, WorldError> {
        let unknown = || WorldError::NoGroup(id.to_owned());
        let jid = if id.contains('@') { Jid::parse(id).map_err(|_| unknown())? } else { Jid::new(id, Server::Group) };
        let group = self.groups.find(&jid).ok_or_else(unknown)?;
        let member = |(number, role): (&String, &MemberRole)| {
            let lid = self.registry.account(number)?.lid.to_string();
            Some(MemberSummary { number: number.clone(), lid, role: *role })
        };
        Ok(GroupSummary {
            id: jid.to_string(),
            subject: group.subject.text.clone(),
            description: group.description.as_ref().map(|text| text.text.clone()),
            creator: group.creator.clone(),
            participants: group.members.iter().filter_map(member).collect(),
            announcement: group.announcement,
            locked: group.locked,
            invite: group.invite.clone(),
        })
    }

    /// Changes the members of a group, as `by` or as its creator.
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
}
