//! Linking by QR code (`sandbox-service.md` 2): references for a client, and the phone that scans one of them.

use super::request::LinkRequest;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::ConnectionId;
use crate::sandbox::world::net::connections::Role;
use crate::sandbox::world::net::schedule::{Action, FIRST_FRAME_DELAY};
use crate::sandbox::world::state::World;
use crate::signal::{IdentityKey, PublicKey};
use crate::wire::qr::QrCode;
use crate::wire::{Jid, Node};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;

/// References offered to one client: the first lives 60 s, the others 20 s each.
const REFERENCES: usize = 6;

impl World {
    /// Offers references to a client that is not linked yet.
    pub(in crate::sandbox::world) fn begin_linking(
        &mut self,
        id: ConnectionId,
        noise: PublicKey,
        registration_id: u32,
        identity: IdentityKey,
        push_name: Option<String>,
    ) {
        let references: Vec<String> = (0..REFERENCES).map(|_| self.new_reference()).collect();
        let offered = references.iter().map(|text| Node::new("ref").bytes(text.as_bytes()));
        let offer = Node::new("iq")
            .attr("from", Jid::service())
            .attr("type", "set")
            .attr("id", self.new_stanza_id())
            .attr("xmlns", "md")
            .child(Node::new("pair-device").children(offered));
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(offer)));
        let request = LinkRequest {
            noise,
            registration_id,
            identity,
            push_name,
            references,
            assigned: None,
            code: None,
            passkey: None,
        };
        self.connections.set_role(id, Role::Linking(Box::new(request)));
    }

    fn new_reference(&mut self) -> String {
        let mut bytes = [0; 60];
        self.rng.fill_bytes(&mut bytes);
        format!("2@{}", STANDARD.encode(bytes))
    }

    /// The person scans a QR code with the phone.
    pub fn scan(&mut self, number: &str, qr: &str) -> Result<(), WorldError> {
        let code = QrCode::parse(qr).map_err(WorldError::BadQr)?;
        let (id, _) = self.find_link_request(&code)?;
        if self.demands_passkey(number) {
            self.demand_passkey(number, id, &code.adv_secret, false);
            return Ok(());
        }
        self.vouch_for(number, id, &code.identity, &code.adv_secret)
    }

    /// The push name of the client that shows this QR code.
    pub fn push_name_of(&self, qr: &str) -> Result<Option<String>, WorldError> {
        let code = QrCode::parse(qr).map_err(WorldError::BadQr)?;
        self.find_link_request(&code).map(|(_, request)| request.push_name.clone())
    }

    fn find_link_request(&self, code: &QrCode) -> Result<(ConnectionId, &LinkRequest), WorldError> {
        let shown = self.connections.link_requests().find(|(_, request)| request.references.contains(&code.reference));
        let (id, request) = shown.ok_or(WorldError::UnknownQr)?;
        if request.noise != code.noise || request.identity != code.identity {
            return Err(WorldError::ForeignQr);
        }
        Ok((id, request))
    }
}
