//! Linking by an 8-character code (`sandbox-service.md` 2): the client shows it, the person enters it on the phone.

use super::request::CodeRequest;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::ConnectionId;
use crate::sandbox::world::net::schedule::{Action, FIRST_FRAME_DELAY};
use crate::sandbox::world::refusal::{Answer, BAD_REQUEST, NOT_FOUND, Refusal};
use crate::sandbox::world::state::World;
use crate::signal::KeyPair;
use crate::wire::pair_code::{BUNDLE, PairCode, open_bundle};
use crate::wire::{Jid, Node};
use rand::Rng;

impl World {
    /// Answers a step of a client that is being linked by code.
    pub(in crate::sandbox::world) fn code_iq(&mut self, id: ConnectionId, stage: &Node) -> Answer {
        match stage.text("stage").as_deref() {
            Some("companion_hello") => self.companion_hello(id, stage).map(Some),
            Some("companion_finish") => self.companion_finish(id, stage).map(|()| None),
            _ => Err(BAD_REQUEST),
        }
    }

    fn companion_hello(&mut self, id: ConnectionId, stage: &Node) -> Result<Node, Refusal> {
        let jid = stage.jid("jid").ok_or(BAD_REQUEST)?;
        let number = self.registry.number_of(&jid).ok_or(NOT_FOUND)?;
        let wrapped = stage.find("link_code_pairing_wrapped_companion_ephemeral_pub").ok_or(BAD_REQUEST)?;
        let wrapped = wrapped.array("wrapped ephemeral key").map_err(|_| BAD_REQUEST)?;
        let mut reference = vec![0; 16];
        self.rng.fill_bytes(&mut reference);
        let request = self.connections.link_request_mut(id).ok_or(BAD_REQUEST)?;
        request.code = Some(CodeRequest { number, reference: reference.clone(), wrapped, entered: None });
        let reference = Node::new("link_code_pairing_ref").bytes(reference);
        Ok(Node::new("link_code_companion_reg").attr("stage", "companion_hello").child(reference))
    }

    /// The person enters the code on the phone.
    pub fn enter_code(&mut self, number: &str, code: &str) -> Result<(), WorldError> {
        let code = PairCode::parse(code).map_err(WorldError::BadCode)?;
        let identity = self.require_phone(number)?.phone.local.identity.public();
        // The code belongs to the client with the newest request.
        let is_meant = |request: &CodeRequest| request.number == number;
        let waiting = self.connections.link_requests().filter(|(_, it)| it.code.as_ref().is_some_and(is_meant));
        let newest = waiting.map(|(id, _)| id).max();
        let request = newest.and_then(|id| Some((id, self.connections.link_request_mut(id)?.code.as_mut()?)));
        let (id, request) = request.ok_or_else(|| WorldError::NoCodeRequest(number.to_owned()))?;
        let ephemeral = KeyPair::generate(&mut self.rng);
        let wrapped = code.wrap(ephemeral.public(), &mut self.rng);
        let theirs = code.unwrap(&request.wrapped);
        let hello = Node::new("link_code_companion_reg").attr("stage", "primary_hello").children([
            Node::new("link_code_pairing_wrapped_primary_ephemeral_pub").bytes(wrapped),
            Node::new("primary_identity_pub").bytes(*identity.0.as_bytes()),
            Node::new("link_code_pairing_ref").bytes(request.reference.clone()),
        ]);
        request.entered = Some((ephemeral, theirs));
        let notification = self.notification(&Jid::service(), "link_code_companion_reg").child(hello);
        self.send(id, &notification);
        Ok(())
    }

    /// The client proves that it showed the code; the phone then vouches for it as after a scan.
    fn companion_finish(&mut self, id: ConnectionId, stage: &Node) -> Result<(), Refusal> {
        let request = self.connections.link_request_mut(id).ok_or(BAD_REQUEST)?;
        let companion = request.identity;
        let mut code = request.code.take().ok_or(BAD_REQUEST)?;
        let reference = stage.find("link_code_pairing_ref").map(Node::content_bytes);
        let (Some((ephemeral, theirs)), true) = (code.entered.take(), reference == Some(&code.reference)) else {
            return Err(BAD_REQUEST);
        };
        let bundle = stage.find("link_code_pairing_wrapped_key_bundle").ok_or(BAD_REQUEST)?;
        let bundle: [u8; BUNDLE] = bundle.array("key bundle").map_err(|_| BAD_REQUEST)?;
        let account = self.registry.account(&code.number).ok_or(NOT_FOUND)?;
        let identity = &account.phone.local.identity;
        let secret = open_bundle(&ephemeral, identity, &theirs, &companion, &bundle);
        let Ok(secret) = secret else {
            // The person may enter it once more.
            if let Some(request) = self.connections.link_request_mut(id) {
                request.code = Some(code);
            }
            return Err((401, "not-authorized"));
        };
        if self.demands_passkey(&code.number) {
            self.demand_passkey(&code.number, id, &secret, true);
        } else {
            self.after(FIRST_FRAME_DELAY, Action::Vouch { client: id, number: code.number, adv_secret: secret });
        }
        Ok(())
    }
}
