//! Linking by an 8-character code (`sandbox-service.md` 2): the client shows it, the person types it into the phone.

use crate::base::secret::Secret;
use crate::sandbox::world::groups::membership::{BAD_REQUEST, NOT_FOUND, Refusal};
use crate::sandbox::world::{Action, ConnectionId, FIRST_FRAME_DELAY, Role, World, WorldError};
use crate::signal::{KeyPair, PublicKey};
use crate::wire::pair_code::{BUNDLE, PairCode, open_bundle};
use crate::wire::{Jid, Node};
use rand::Rng;

/// What a client has asked for, and what the phone has answered.
pub(in crate::sandbox::world) struct CodeRequest {
    number: String,
    reference: Vec<u8>,
    wrapped: [u8; 80],
    /// The phone's ephemeral key, and the client's as the code gave it.
    entered: Option<(KeyPair, PublicKey)>,
}

impl World {
    /// A step of a client that is being linked by code.
    pub(in crate::sandbox::world) fn code_iq(
        &mut self,
        id: ConnectionId,
        stage: &Node,
    ) -> Result<Option<Node>, Refusal> {
        match stage.text("stage").as_deref() {
            Some("companion_hello") => self.companion_hello(id, stage).map(Some),
            Some("companion_finish") => self.companion_finish(id, stage).map(|()| None),
            _ => Err(BAD_REQUEST),
        }
    }

    fn companion_hello(&mut self, id: ConnectionId, stage: &Node) -> Result<Node, Refusal> {
        let jid = stage.jid("jid").ok_or(BAD_REQUEST)?;
        let number = self.number_of(&jid).ok_or(NOT_FOUND)?;
        let wrapped = stage.find("link_code_pairing_wrapped_companion_ephemeral_pub").ok_or(BAD_REQUEST)?;
        let wrapped = wrapped.array("wrapped ephemeral key").map_err(|_| BAD_REQUEST)?;
        let mut reference = vec![0; 16];
        self.rng.fill_bytes(&mut reference);
        let request = self.link_request_mut(id).ok_or(BAD_REQUEST)?;
        request.code = Some(CodeRequest { number, reference: reference.clone(), wrapped, entered: None });
        let reference = Node::new("link_code_pairing_ref").bytes(reference);
        Ok(Node::new("link_code_companion_reg").attr("stage", "companion_hello").child(reference))
    }

    /// The person types the code into the phone.
    pub fn enter_code(&mut self, number: &str, code: &str) -> Result<(), WorldError> {
        let code = PairCode::parse(code).map_err(WorldError::BadCode)?;
        let account = self.accounts.get(number).ok_or_else(|| WorldError::NoPhone(number.to_owned()))?;
        let identity = account.phone.local.identity.public();
        let waiting = self.connections.iter_mut().filter_map(|(id, connection)| match &mut connection.role {
            Role::Linking(request) => request.code.as_mut().map(|code| (*id, code)),
            _ => None,
        });
        // The client that has asked last is the one in front of the person.
        let newest = waiting.filter(|(_, request)| request.number == number).max_by_key(|(id, _)| *id);
        let (id, request) = newest.ok_or_else(|| WorldError::NoCodeRequest(number.to_owned()))?;
        let ephemeral = KeyPair::generate(&mut self.rng);
        let wrapped = code.wrap(ephemeral.public(), &mut self.rng);
        let theirs = code.unwrap(&request.wrapped);
        let hello = Node::new("link_code_companion_reg").attr("stage", "primary_hello").children([
            Node::new("link_code_pairing_wrapped_primary_ephemeral_pub").bytes(wrapped),
            Node::new("primary_identity_pub").bytes(*identity.0.as_bytes()),
            Node::new("link_code_pairing_ref").bytes(request.reference.clone()),
        ]);
        request.entered = Some((ephemeral, theirs));
        let notification = Node::new("notification")
            .attr("from", Jid::service())
            .attr("type", "link_code_companion_reg")
            .attr("id", self.new_stanza_id())
            .attr("t", self.now.secs())
            .child(hello);
        self.send(id, &notification);
        Ok(())
    }

    /// The client proves that it showed the code; the phone then vouches for it as after a scan.
    fn companion_finish(&mut self, id: ConnectionId, stage: &Node) -> Result<(), Refusal> {
        let request = self.link_request_mut(id).ok_or(BAD_REQUEST)?;
        let companion = request.identity();
        let mut code = request.code.take().ok_or(BAD_REQUEST)?;
        let reference = stage.find("link_code_pairing_ref").map(Node::content_bytes);
        let (Some((ephemeral, theirs)), true) = (code.entered.take(), reference == Some(&code.reference)) else {
            return Err(BAD_REQUEST);
        };
        let bundle = stage.find("link_code_pairing_wrapped_key_bundle").ok_or(BAD_REQUEST)?;
        let bundle: [u8; BUNDLE] = bundle.array("key bundle").map_err(|_| BAD_REQUEST)?;
        let account = self.accounts.get(&code.number).ok_or(NOT_FOUND)?;
        let identity = &account.phone.local.identity;
        let secret = open_bundle(&ephemeral, identity, &theirs, &companion, &bundle);
        let Ok(secret) = secret else {
            // The person may type it once more.
            if let Some(request) = self.link_request_mut(id) {
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

    pub(in crate::sandbox::world) fn vouch_after_code(
        &mut self,
        number: &str,
        client: ConnectionId,
        adv_secret: &Secret<32>,
    ) {
        let Some(companion) = self.link_request_mut(client).map(|request| request.identity()) else { return };
        if let Err(error) = self.vouch_for(number, client, &companion, adv_secret) {
            tracing::warn!(connection = client.0, %error, "a client that showed the right code cannot be linked");
        }
    }
}
