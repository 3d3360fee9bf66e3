//! Linking a companion (`sandbox-service.md` 2): the service's references, and the phone that scans one of them.

use crate::base::secret::Secret;
use crate::sandbox::world::linking::code::CodeRequest;
use crate::sandbox::world::linking::passkey::PasskeyLink;
use crate::sandbox::world::persistence::rows::Row;
use crate::sandbox::world::registry::account::Companion;
use crate::sandbox::world::{
    Action, ConnectionId, DeviceId, FIRST_FRAME_DELAY, RECEIPT_DELAY, Role, World, WorldError,
};
use crate::signal::{IdentityKey, PublicKey};
use crate::wire::adv::{verify_companion, vouch};
use crate::wire::proto::ClientPairingProps;
use crate::wire::qr::QrCode;
use crate::wire::{Jid, Node};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use rand::Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// A client that wants to be linked.
pub(in crate::sandbox::world) struct LinkRequest {
    client: PublicKey,
    registration_id: u32,
    identity: IdentityKey,
    push_name: Option<String>,
    references: Vec<String>,
    /// Set once a phone has scanned: the device it will be.
    scanned: Option<(DeviceId, u32)>,
    pub(in crate::sandbox::world) code: Option<CodeRequest>,
    pub(in crate::sandbox::world) passkey: Option<PasskeyLink>,
}

impl LinkRequest {
    pub(in crate::sandbox::world) fn new(
        client: PublicKey,
        registration_id: u32,
        identity: IdentityKey,
        push_name: Option<String>,
    ) -> Self {
        Self {
            client,
            registration_id,
            identity,
            push_name,
            references: Vec::new(),
            scanned: None,
            code: None,
            passkey: None,
        }
    }

    pub(in crate::sandbox::world) fn noise(&self) -> PublicKey {
        self.client
    }

    pub(in crate::sandbox::world) fn identity(&self) -> IdentityKey {
        self.identity
    }
}

/// References offered to one client: the first lives 60 s, the others 20 s each.
const REFERENCES: usize = 6;
const RESTART_DELAY: Duration = Duration::from_millis(100);
const RESTART_CLOSE_DELAY: Duration = Duration::from_millis(400);

impl World {
    pub(in crate::sandbox::world) fn offer_references(&mut self, id: ConnectionId, mut request: LinkRequest) {
        for _ in 0..REFERENCES {
            let mut bytes = [0; 60];
            self.rng.fill_bytes(&mut bytes);
            request.references.push(format!("2@{}", STANDARD.encode(bytes)));
        }
        let references = request.references.iter().map(|text| Node::new("ref").bytes(text.as_bytes()));
        let offer = Node::new("iq")
            .attr("from", Jid::service())
            .attr("type", "set")
            .attr("id", self.new_stanza_id())
            .attr("xmlns", "md")
            .child(Node::new("pair-device").children(references));
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(offer)));
        self.set_role(id, Role::Linking(Box::new(request)));
    }

    /// The person scans a QR code with the phone.
    pub fn scan(&mut self, number: &str, qr: &str) -> Result<(), WorldError> {
        let code = QrCode::parse(qr).map_err(WorldError::BadQr)?;
        let (id, _) = self.find_request(&code)?;
        if self.demands_passkey(number) {
            self.demand_passkey(number, id, &code.adv_secret, false);
            return Ok(());
        }
        self.vouch_for(number, id, &code.identity, &code.adv_secret)
    }

    /// The phone gives the client on this connection its place among the account's devices.
    pub(in crate::sandbox::world) fn vouch_for(
        &mut self,
        number: &str,
        id: ConnectionId,
        companion: &IdentityKey,
        adv_secret: &Secret<32>,
    ) -> Result<(), WorldError> {
        let account = self.accounts.get_mut(number).ok_or_else(|| WorldError::NoPhone(number.to_owned()))?;
        let full = || WorldError::TooManyCompanions(number.to_owned());
        let (device, key_index) = account.next_companion().ok_or_else(full)?;
        let details = (account.raw_id, self.now.secs(), key_index);
        let identity = &account.phone.local.identity;
        let container = vouch(identity, companion, adv_secret, details, &mut self.rng);
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
        if let Some(request) = self.link_request_mut(id) {
            request.references.clear();
            request.scanned = Some((DeviceId { number: number.to_owned(), device }, key_index));
        }
        self.send(id, &stanza);
        Ok(())
    }

    pub(in crate::sandbox::world) fn link_requests(&self) -> impl Iterator<Item = (ConnectionId, &LinkRequest)> {
        self.connections.iter().filter_map(|(id, connection)| match &connection.role {
            Role::Linking(request) => Some((*id, &**request)),
            _ => None,
        })
    }

    pub(in crate::sandbox::world) fn link_request(&self, id: ConnectionId) -> Option<&LinkRequest> {
        match self.connections.get(&id).map(|connection| &connection.role) {
            Some(Role::Linking(request)) => Some(request),
            _ => None,
        }
    }

    pub(in crate::sandbox::world) fn link_request_mut(&mut self, id: ConnectionId) -> Option<&mut LinkRequest> {
        match self.connections.get_mut(&id).map(|connection| &mut connection.role) {
            Some(Role::Linking(request)) => Some(request),
            _ => None,
        }
    }

    /// The name that the client showing this code goes by.
    pub fn push_name_of(&self, qr: &str) -> Result<Option<String>, WorldError> {
        let code = QrCode::parse(qr).map_err(WorldError::BadQr)?;
        self.find_request(&code).map(|(_, request)| request.push_name.clone())
    }

    fn find_request(&self, code: &QrCode) -> Result<(ConnectionId, &LinkRequest), WorldError> {
        let shown = self.link_requests().find(|(_, request)| request.references.contains(&code.reference));
        let (id, request) = shown.ok_or(WorldError::UnknownQr)?;
        if request.client != code.noise || request.identity != code.identity {
            return Err(WorldError::ForeignQr);
        }
        Ok((id, request))
    }

    /// A stanza of a client that is being linked: a keepalive, or its self-signed identity.
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
        let Some(signed) = node.find("pair-device-sign").and_then(|sign| sign.find("device-identity")) else {
            return;
        };
        let Some(Role::Linking(request)) = self.connections.get(&id).map(|connection| &connection.role) else {
            return;
        };
        let Some((device, key_index)) = request.scanned.clone() else { return };
        let (noise, identity, registration_id) = (request.client, request.identity, request.registration_id);
        let Some(account) = self.accounts.get_mut(&device.number) else { return };
        let phone = account.phone.local.identity.public();
        let verified = match verify_companion(signed.content_bytes(), &identity, Some(&phone)) {
            Ok(verified) => verified,
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "a companion's self-signed identity is refused");
                self.fail_login(id, 401);
                return;
            }
        };
        let companion = Companion {
            noise,
            identity,
            registration_id,
            key_index,
            device_identity: verified.to_blob(),
            ..Companion::offline()
        };
        account.companions.insert(device.device, companion);
        self.touch(|| Row::Companion(device.clone()));
        let restart = Node::new("stream:error").attr("code", "515");
        self.after(RESTART_DELAY, Action::Send(id, Box::new(restart)));
        self.after(RESTART_CLOSE_DELAY, Action::Close(id));
        self.announce_device(&device, key_index, "add");
    }

    /// Tells those concerned that an account has a new device, or one less (`sandbox-service.md` 7).
    pub(in crate::sandbox::world) fn announce_device(
        &mut self,
        device: &DeviceId,
        key_index: u32,
        change: &'static str,
    ) {
        let Some(account) = self.accounts.get(&device.number) else { return };
        let list = account.key_index_list(self.now.secs(), &mut self.rng);
        let (pn, lid) = (account.pn.clone(), account.lid.clone());
        let own = self.devices_of(&device.number);
        // Those who have asked for this list before, and the person's own devices.
        let listeners = account.acquaintances.iter().cloned().chain(own.iter().cloned());
        let listeners: BTreeSet<DeviceId> =
            listeners.filter(|listener| listener.device != 0 && listener != device).collect();
        for listener in listeners {
            for (from, other) in [(&pn, Some(&lid)), (&lid, None)] {
                let changed = Node::new(change).attr("device_hash", "2:sandbox").children([
                    Node::new("device")
                        .attr("jid", from.with_device(device.device))
                        .attr("key-index", u64::from(key_index)),
                    Node::new("key-index-list").attr("ts", self.now.secs()).bytes(list.clone()),
                ]);
                self.notify(&listener, from, "devices", |it| it.maybe("lid", other).child(changed));
            }
            if own.contains(&listener) {
                let devices = self.own_devices(&listener.number);
                self.notify(&listener, &pn, "account_sync", |it| it.child(devices));
            }
        }
    }

    fn own_devices(&self, number: &str) -> Node {
        let devices = self.accounts.get(number).into_iter().flat_map(|account| {
            let companions = account.companions.iter().map(|(id, companion)| (*id, companion.key_index));
            let device = |(id, index): (u16, u32)| {
                Node::new("device").attr("jid", account.pn.with_device(id)).attr("key-index", u64::from(index))
            };
            std::iter::once((0, 0)).chain(companions).map(device)
        });
        Node::new("devices").attr("dhash", "2:sandbox").children(devices.collect::<Vec<_>>())
    }

    pub(in crate::sandbox::world) fn notify(
        &mut self,
        device: &DeviceId,
        from: &Jid,
        kind: &'static str,
        content: impl FnOnce(Node) -> Node,
    ) {
        let notification = Node::new("notification")
            .attr("from", from)
            .attr("type", kind)
            .attr("id", self.new_stanza_id())
            .attr("t", self.now.secs());
        self.deliver(device, content(notification));
    }

    /// A companion is no longer linked: it is told so, and gone.
    pub(in crate::sandbox::world) fn remove_companion(&mut self, device: &DeviceId) {
        let Some(account) = self.accounts.get_mut(&device.number) else { return };
        let Some(companion) = account.companions.remove(&device.device) else { return };
        for kept in &companion.queue {
            self.touch(|| Row::Queue(device.clone(), kept.sequence));
        }
        self.touch(|| Row::Companion(device.clone()));
        if let Some(id) = companion.connection {
            let conflict = Node::new("conflict").attr("type", "device_removed");
            let removed = Node::new("stream:error").attr("code", "401").child(conflict);
            self.after(RECEIPT_DELAY, Action::Send(id, Box::new(removed)));
            self.after(RECEIPT_DELAY * 2, Action::Close(id));
        }
        self.announce_device(device, companion.key_index, "remove");
    }

    /// The person removes a companion on the phone.
    pub fn unlink(&mut self, number: &str, device: u16) -> Result<(), WorldError> {
        let id = DeviceId { number: number.to_owned(), device };
        self.phone(number)?;
        self.companion_mut(&id).ok_or_else(|| WorldError::NoCompanion(number.to_owned(), device))?;
        self.remove_companion(&id);
        Ok(())
    }
}
