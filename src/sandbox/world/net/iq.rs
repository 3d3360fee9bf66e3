//! The table of answers (`sandbox-service.md` 4). Every request is answered, or the client would wait for ever.

use crate::sandbox::world::ids::{ConnectionId, DeviceId};
use crate::sandbox::world::net::schedule::{Action, FIRST_FRAME_DELAY};
use crate::sandbox::world::refusal::{Answer, BAD_REQUEST, NOT_FOUND};
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node};

impl World {
    pub(in crate::sandbox::world) fn handle_iq(&mut self, id: ConnectionId, device: &DeviceId, iq: &Node) {
        let kind = iq.text("type").unwrap_or_default().into_owned();
        if kind != "get" && kind != "set" {
            return;
        }
        let xmlns = iq.text("xmlns").unwrap_or_default().into_owned();
        let answer = self.answer(device, &xmlns, &kind, iq);
        self.reply(id, iq, answer);
    }

    pub(in crate::sandbox::world) fn reply(&mut self, id: ConnectionId, iq: &Node, answer: Answer) {
        let reply = Node::new("iq")
            .attr("from", iq.jid("to").unwrap_or_else(Jid::service))
            .attr("type", if answer.is_ok() { "result" } else { "error" })
            .maybe("id", iq.get("id").cloned());
        let reply = match answer {
            Ok(content) => reply.attr("t", self.now.secs()).children(content),
            Err((code, text)) => reply.child(Node::new("error").attr("code", code).attr("text", text)),
        };
        self.send(id, &reply);
    }

    fn answer(&mut self, device: &DeviceId, xmlns: &str, kind: &str, iq: &Node) -> Answer {
        match (xmlns, kind) {
            ("encrypt", _) => self.encrypt_iq(device, iq),
            ("usync", _) => self.usync(device, iq).map(Some).map_err(|_| BAD_REQUEST),
            ("w:g2", _) => self.group_iq(device, kind, iq),
            ("passive", _) => self.set_passive(device, iq),
            ("abt", _) => Ok(Some(experiment_props())),
            ("md", "set") => self.removal_iq(device, iq.find("remove-companion-device").ok_or(BAD_REQUEST)?),
            ("w", "get") => Ok(Some(Node::new("props").attr("version", "2").attr("hash", "sandbox"))),
            ("w:m", "set") => self.media_connection().map(Some).ok_or((503, "service-unavailable")),
            ("blocklist", _) => self.blocklist(device, iq).map(Some),
            ("privacy", "get") => self.privacy(device).map(Some),
            ("privacy", "set") => match iq.find("tokens") {
                Some(tokens) => self.issue_tokens(device, tokens),
                None => self.set_privacy(device, iq.find("privacy").ok_or(BAD_REQUEST)?).map(Some),
            },
            ("status", "set") => self.set_about(device, iq).map(|()| None),
            ("disappearing_mode", "set") => self.set_disappearing(device, iq).map(|()| None),
            ("w:sync:app:state", "set") => Ok(Some(self.sync_app_state(device, iq))),
            ("w:profile:picture", _) => self.picture(device, kind, iq),
            ("w:mex", _) => Ok(Some(Node::new("result").bytes(&b"{\"data\":{}}"[..]))),
            ("privacy" | "w:p" | "urn:xmpp:whatsapp:dirty" | "w:stats" | "status" | "urn:xmpp:ping", _) => Ok(None),
            _ => Err((501, "feature-not-implemented")),
        }
    }

    fn set_passive(&mut self, device: &DeviceId, iq: &Node) -> Answer {
        if iq.find("active").is_some() {
            self.after(FIRST_FRAME_DELAY, Action::Welcome(device.clone()));
        }
        Ok(None)
    }

    fn removal_iq(&mut self, device: &DeviceId, request: &Node) -> Answer {
        let named = request.jid("jid").map_or(device.device, |jid| jid.device());
        let removed = DeviceId::new(&device.number, named);
        if named == 0 || self.registry.companion(&removed).is_none() {
            return Err(NOT_FOUND);
        }
        self.remove_companion(&removed);
        Ok(None)
    }
}

fn experiment_props() -> Node {
    Node::new("props")
        .attr("protocol", "1")
        .attr("ab_key", "sandbox")
        .attr("hash", "sandbox")
        .attr("refresh", "86400")
        .attr("refresh_id", "1")
        .child(Node::new("prop").attr("config_code", "10518").attr("config_value", "0"))
}
