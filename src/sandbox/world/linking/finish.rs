//! The common end of every way to link: `pair-success`, the self-signed identity, and the restart.

use crate::base::secret::Secret;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::{ConnectionId, DeviceId};
use crate::sandbox::world::net::schedule::Action;
use crate::sandbox::world::registry::companion::{Companion, CompanionKeys};
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::signal::IdentityKey;
use crate::wire::adv::{verify_companion, vouch};
use crate::wire::proto::ClientPairingProps;
use crate::wire::{Jid, Node};
use prost::Message;
use std::collections::VecDeque;
use std::time::Duration;

const RESTART_DELAY: Duration = Duration::from_millis(100);
const RESTART_CLOSE_DELAY: Duration = Duration::from_millis(400);

impl World {
    /// The phone signs the identity of the client on this connection, which becomes one of the account's devices.
    pub(in crate::sandbox::world) fn vouch_for(
        &mut self,
        number: &str,
        id: ConnectionId,
        companion: &IdentityKey,
        adv_secret: &Secret<32>,
    ) -> Result<(), WorldError> {
        let account = self.registry.account_mut(number).ok_or_else(|| WorldError::NoPhone(number.to_owned()))?;
        let full = || WorldError::TooManyCompanions(number.to_owned());
        let (device, key_index) = account.next_companion().ok_or_else(full)?;
        let details = (account.raw_id, self.now.secs(), key_index);
        let container = vouch(&account.phone.local.identity, companion, adv_secret, details, &mut self.rng);
        let props = ClientPairingProps { is_chat_db_lid_migrated: Some(true) };
        let success = Node::new("pair-success").children([
            Node::new("device-identity").bytes(container),
            Node::new("biz").attr("name", account.name.clone()),
            Node::new("platform").attr("name", "android"),
            Node::new("device")
                .attr("jid", account.pn.with_device(device))
                .attr("lid", account.lid.with_device(device)),
            Node::new("client-props").bytes(props.encode_to_vec()),
        ]);
        let stanza = Node::new("iq")
            .attr("from", Jid::service())
            .attr("type", "set")
            .attr("id", self.new_stanza_id())
            .attr("t", self.now.secs())
            .child(success);
        self.touch(|| Row::Account(number.to_owned()));
        if let Some(request) = self.connections.link_request_mut(id) {
            request.references.clear();
            request.assigned = Some((DeviceId::new(number, device), key_index));
        }
        self.send(id, &stanza);
        Ok(())
    }

    /// The phone vouches for a client that has proved the code or the passkey.
    pub(in crate::sandbox::world) fn vouch_after_proof(
        &mut self,
        number: &str,
        client: ConnectionId,
        adv_secret: &Secret<32>,
    ) {
        let Some(companion) = self.connections.link_request(client).map(|request| request.identity) else { return };
        if let Err(error) = self.vouch_for(number, client, &companion, adv_secret) {
            tracing::warn!(connection = client.0, %error, "proven client cannot be linked");
        }
    }

    /// A stanza of a client that is being linked: a keepalive, a step of its ceremony, or its self-signed identity.
    pub(in crate::sandbox::world) fn linking_iq(&mut self, id: ConnectionId, node: &Node) {
        if let Some(answer) = self.passkey_iq(id, node) {
            return self.reply(id, node, answer);
        }
        if node.is("type", "get") {
            let pong = Node::new("iq").attr("from", Jid::service()).attr("type", "result");
            self.send(id, &pong.maybe("id", node.get("id").cloned()));
            return;
        }
        if let Some(stage) = node.find("link_code_companion_reg") {
            let answer = self.code_iq(id, stage);
            return self.reply(id, node, answer);
        }
        if let Some(signed) = node.find("pair-device-sign").and_then(|sign| sign.find("device-identity")) {
            self.add_companion(id, signed.content_bytes());
        }
    }

    /// Verifies the self-signed identity of a client, and makes it a companion.
    fn add_companion(&mut self, id: ConnectionId, signed: &[u8]) {
        let Some(request) = self.connections.link_request(id) else { return };
        let Some((device, key_index)) = request.assigned.clone() else { return };
        let Some(account) = self.registry.account_mut(&device.number) else { return };
        let phone = account.phone.local.identity.public();
        let verified = match verify_companion(signed, &request.identity, Some(&phone)) {
            Ok(verified) => verified,
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "self-signed identity of a companion rejected");
                self.fail_login(id, 401);
                return;
            }
        };
        let companion = Companion::offline(CompanionKeys {
            noise: request.noise,
            identity: request.identity,
            registration_id: request.registration_id,
            key_index,
            device_identity: verified.to_blob(),
            signed_prekey: None,
            prekeys: VecDeque::new(),
        });
        account.companions.insert(device.device, companion);
        self.touch(|| Row::Companion(device.clone()));
        let restart = Node::new("stream:error").attr("code", "515");
        self.after(RESTART_DELAY, Action::Send(id, Box::new(restart)));
        self.after(RESTART_CLOSE_DELAY, Action::Close(id));
        self.announce_device(&device, key_index, "add");
    }
}
