//! Metadata of a group: subject, description, switches, invite code.

use super::group::GroupText;
use crate::sandbox::world::refusal::{BAD_REQUEST, Refusal};
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node};
use rand::RngExt;
use std::collections::BTreeSet;

const MAX_SUBJECT: usize = 100;
const MAX_DESCRIPTION: usize = 2048;
const INVITE_LENGTH: usize = 22;

impl World {
    pub(in crate::sandbox::world) fn touch_group(&mut self, id: &Jid) {
        self.touch(|| Row::Group(id.clone()));
    }

    pub(in crate::sandbox::world) fn new_text(&mut self, by: &str, text: &str) -> GroupText {
        GroupText { id: self.new_stanza_id(), text: text.to_owned(), by: by.to_owned(), at: self.now.secs() }
    }

    pub(in crate::sandbox::world) fn new_invite(&mut self) -> String {
        const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..INVITE_LENGTH).map(|_| char::from(SYMBOLS[self.rng.random_range(0..SYMBOLS.len())])).collect()
    }

    pub(in crate::sandbox::world) fn set_subject(&mut self, by: &str, id: &Jid, subject: &str) -> Result<(), Refusal> {
        self.groups.get(id)?.require_editor(by)?;
        if subject.is_empty() {
            return Err(BAD_REQUEST);
        }
        check_subject(subject)?;
        let given = self.new_text(by, subject);
        self.groups.get_mut(id)?.subject = given.clone();
        self.touch_group(id);
        let author = self.registry.account(by).map(|account| account.lid.clone());
        let change = Node::new("subject").attr("subject", given.text).attr("s_t", given.at).maybe("s_o", author);
        self.notify_group(id, by, &BTreeSet::new(), change);
        Ok(())
    }

    /// Sets the description; `None` removes it.
    pub(in crate::sandbox::world) fn set_description(
        &mut self,
        by: &str,
        id: &Jid,
        text: Option<&str>,
    ) -> Result<(), Refusal> {
        self.groups.get(id)?.require_editor(by)?;
        if text.is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
            return Err(BAD_REQUEST);
        }
        let given = text.map(|text| self.new_text(by, text));
        self.groups.get_mut(id)?.description = given.clone();
        self.touch_group(id);
        let change = match given {
            Some(given) => {
                Node::new("description").attr("id", given.id).child(Node::new("body").bytes(given.text.into_bytes()))
            }
            None => Node::new("description").child(Node::new("delete")),
        };
        self.notify_group(id, by, &BTreeSet::new(), change);
        Ok(())
    }

    /// Sets the switch that a tag names: `announcement`, `locked`, `ephemeral` or one of their opposites.
    pub(in crate::sandbox::world) fn set_switch(&mut self, by: &str, id: &Jid, switch: &Node) -> Result<(), Refusal> {
        let group = self.groups.get_mut(id)?;
        group.require_admin(by)?;
        match switch.tag.as_ref() {
            "announcement" => group.announcement = true,
            "not_announcement" => group.announcement = false,
            "locked" => group.locked = true,
            "unlocked" => group.locked = false,
            "ephemeral" => group.ephemeral = switch.number("expiration").unwrap_or_default(),
            "not_ephemeral" => group.ephemeral = 0,
            _ => return Err(BAD_REQUEST),
        }
        self.touch_group(id);
        let change = Node::new(switch.tag.clone()).maybe("expiration", switch.get("expiration").cloned());
        self.notify_group(id, by, &BTreeSet::new(), change);
        Ok(())
    }

    /// The invite code, which `renewed` replaces.
    pub(in crate::sandbox::world) fn invite_code(
        &mut self,
        by: &str,
        id: &Jid,
        renewed: bool,
    ) -> Result<String, Refusal> {
        self.groups.get(id)?.require_admin(by)?;
        if renewed {
            let code = self.new_invite();
            self.groups.get_mut(id)?.invite = code.clone();
            self.touch_group(id);
            self.notify_group(id, by, &BTreeSet::new(), Node::new("invite").attr("code", code));
        }
        self.groups.get(id).map(|group| group.invite.clone())
    }
}

pub(in crate::sandbox::world) fn check_subject(text: &str) -> Result<(), Refusal> {
    if text.chars().count() > MAX_SUBJECT { Err(BAD_REQUEST) } else { Ok(()) }
}
