//! Requests of devices about groups (`w:g2`; `sandbox-service.md` 5.3).

use crate::sandbox::world::groups::group::MemberChange;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::refusal::{Answer, BAD_REQUEST, NOT_FOUND};
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node, Server};

impl World {
    pub(in crate::sandbox::world) fn group_iq(&mut self, device: &DeviceId, kind: &str, iq: &Node) -> Answer {
        let to = iq.jid("to").ok_or(BAD_REQUEST)?;
        let child = iq.nodes().first().ok_or(BAD_REQUEST)?;
        let me = device.number.as_str();
        if to.server() == Server::Group && !to.user().is_empty() {
            return self.one_group(me, &to, kind, child);
        }
        match (kind, child.tag.as_ref()) {
            ("set", "create") => {
                let people = child
                    .all("participant")
                    .filter_map(|it| self.registry.number_of(&it.jid("jid")?))
                    .collect::<Vec<_>>();
                let id = self.new_group(me, &child.text("subject").unwrap_or_default(), &people)?;
                let description = child.find("description").and_then(|it| it.find("body"));
                if let Some(body) = description {
                    let text = String::from_utf8_lossy(body.content_bytes()).into_owned();
                    self.set_description(me, &id, Some(&text))?;
                }
                Ok(self.group_node(&id))
            }
            ("get", "participating") => {
                let groups: Vec<Node> = self.groups.joined_by(me).filter_map(|id| self.group_node(id)).collect();
                Ok(Some(Node::new("groups").children(groups)))
            }
            ("set", "leave") => {
                let left: Vec<Jid> =
                    child.all("group").filter_map(|group| group_id(group.text("id")?.as_ref())).collect();
                for id in &left {
                    self.leave_group(me, id)?;
                }
                let left = left.iter().map(|id| Node::new("group").attr("id", id));
                Ok(Some(Node::new("leave").children(left)))
            }
            ("get", "invite") => {
                let id = self.groups.invited_to(&child.text("code").unwrap_or_default())?;
                Ok(self.group_node(&id))
            }
            ("set", "invite") => {
                let id = self.join_group(me, &child.text("code").unwrap_or_default())?;
                Ok(Some(Node::new("group").attr("jid", id)))
            }
            _ => Err(BAD_REQUEST),
        }
    }

    fn one_group(&mut self, me: &str, id: &Jid, kind: &str, child: &Node) -> Answer {
        match (kind, child.tag.as_ref()) {
            ("get", "query") => {
                let member = self.groups.members(id).ok_or(NOT_FOUND)?.contains(me);
                if member { Ok(self.group_node(id)) } else { Err((403, "forbidden")) }
            }
            ("get" | "set", "invite") => {
                let code = self.invite_code(me, id, kind == "set")?;
                Ok(Some(Node::new("invite").attr("code", code)))
            }
            ("set", "subject") => {
                let subject = String::from_utf8_lossy(child.content_bytes()).into_owned();
                self.set_subject(me, id, &subject).map(|()| None)
            }
            ("set", "description") => {
                let body = child.find("body").map(|body| String::from_utf8_lossy(body.content_bytes()).into_owned());
                self.set_description(me, id, body.as_deref()).map(|()| None)
            }
            ("set", tag) => match MemberChange::ALL.into_iter().find(|change| change.tag() == tag) {
                Some(change) => {
                    let people: Vec<Jid> = child.all("participant").filter_map(|it| it.jid("jid")).collect();
                    let results = self.change_members(me, id, change, &people)?;
                    let results = results
                        .into_iter()
                        .map(|(person, error)| Node::new("participant").attr("jid", person).maybe("error", error));
                    Ok(Some(Node::new(change.tag()).children(results)))
                }
                None => self.set_switch(me, id, child).map(|()| None),
            },
            _ => Err(BAD_REQUEST),
        }
    }
}

/// Clients name a group with or without its server.
fn group_id(text: &str) -> Option<Jid> {
    if text.contains('@') { Jid::parse(text).ok() } else { Some(Jid::new(text.to_owned(), Server::Group)) }
}
