//! The service and its phones as one machine: bytes of connections in, bytes out, time as an argument.
//!
//! Facts: `sandbox-service.md`. Invariant: what a device has not acknowledged is kept and delivered again.

mod account;
mod control;
mod error;
mod faults;
mod iq;
mod linking;
mod phone;
mod routing;

pub use control::{PhoneMessage, PhoneSummary, StanzaLog};
pub use error::WorldError;
pub use faults::{FaultKind, FaultSummary, NewFault};

use crate::base::ids::random_hex;
use crate::base::time::Timestamp;
use crate::signal::{KeyPair, PublicKey};
use crate::wire::link::{ServerEvent, ServerLink};
use crate::wire::payload::{ClientIntent, read};
use crate::wire::{CertAuthority, Jid, Node, Server};
use account::Account;
use faults::Fault;
use linking::LinkRequest;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// A connection, numbered by whoever owns the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the sockets must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    Bytes(ConnectionId, Vec<u8>),
    Close(ConnectionId),
}

/// Older clients lose a frame that comes right behind the handshake (`sandbox-service.md` 8.1).
const FIRST_FRAME_DELAY: Duration = Duration::from_millis(40);
/// Receipts that come faster than a network allows find clients unprepared (8.7).
const RECEIPT_DELAY: Duration = Duration::from_millis(50);
/// How long the end of the backlog is held back for its acknowledgement.
const OFFLINE_END_DELAY: Duration = Duration::from_secs(3);
/// Stanzas kept for `GET /stanzas`.
const STANZA_LOG: usize = 1000;

/// One device of one person: the phone is device 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct DeviceId {
    number: String,
    device: u16,
}

struct Connection {
    link: ServerLink,
    role: Role,
}

enum Role {
    Handshaking,
    Linking(Box<LinkRequest>),
    Online(DeviceId),
    /// Has been told to go.
    Leaving,
}

/// What is to happen at a point in time.
enum Action {
    Send(ConnectionId, Box<Node>),
    Close(ConnectionId),
    Deliver(DeviceId, Box<Node>),
    /// The same, past all faults.
    DeliverNow(DeviceId, Box<Node>),
    /// What was held back is sent.
    Release(DeviceId),
    Backlog(DeviceId, ConnectionId),
    OfflineEnd(DeviceId, ConnectionId),
    /// The phone answers a message with a receipt of this type.
    Receipt {
        phone: String,
        receipt: Box<Node>,
    },
    /// A new companion is given keys and history by its phone.
    Welcome(DeviceId),
}

/// Sees every stanza that a linked device sends, with the device as `number:device`.
pub type Tap = Box<dyn FnMut(&str, &Node) + Send>;

/// The whole sandbox network.
pub struct World {
    rng: StdRng,
    authority: CertAuthority,
    noise: KeyPair,
    chain: Vec<u8>,
    now: Timestamp,
    connections: HashMap<ConnectionId, Connection>,
    accounts: BTreeMap<String, Account>,
    numbers_by_lid: HashMap<String, String>,
    schedule: BTreeMap<(Timestamp, u64), Action>,
    scheduled: u64,
    output: VecDeque<Output>,
    stanzas: VecDeque<StanzaLog>,
    stanzas_seen: u64,
    tap: Option<Tap>,
    faults: Vec<Fault>,
    faults_seen: u64,
    /// Held back to come behind the next one.
    held: Vec<(DeviceId, Node)>,
}

impl World {
    /// A network whose every key and number follows from `seed`.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let authority = CertAuthority::new(KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
        let noise = KeyPair::generate(&mut rng);
        let chain = authority.issue(noise.public(), now, &mut rng);
        Self {
            rng,
            authority,
            noise,
            chain,
            now,
            connections: HashMap::new(),
            accounts: BTreeMap::new(),
            numbers_by_lid: HashMap::new(),
            schedule: BTreeMap::new(),
            scheduled: 0,
            output: VecDeque::new(),
            stanzas: VecDeque::new(),
            stanzas_seen: 0,
            tap: None,
            faults: Vec::new(),
            faults_seen: 0,
            held: Vec::new(),
        }
    }

    /// Has every stanza of a linked device shown to `tap` before it is dealt with.
    pub fn tap(&mut self, tap: Tap) {
        self.tap = Some(tap);
    }

    /// The certificate root that clients must trust.
    pub fn root_key(&self) -> &PublicKey {
        self.authority.root_key()
    }

    /// Moves time on: what is due happens. Call this before handing in anything.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some(entry) = self.schedule.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let action = entry.remove();
            self.act(action);
        }
    }

    /// When [`advance`](Self::advance) is due.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.schedule.keys().next().map(|(at, _)| *at)
    }

    pub fn next_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// A client has connected.
    pub fn connected(&mut self, id: ConnectionId) {
        let ephemeral = KeyPair::generate(&mut self.rng);
        let link = ServerLink::accept(self.noise.clone(), self.chain.clone(), ephemeral);
        self.connections.insert(id, Connection { link, role: Role::Handshaking });
    }

    /// A client is gone.
    pub fn closed(&mut self, id: ConnectionId) {
        if let Some(Connection { role: Role::Online(device), .. }) = self.connections.remove(&id)
            && let Some(companion) = self.companion_mut(&device)
            && companion.connection == Some(id)
        {
            companion.connection = None;
        }
    }

    /// A client has sent bytes.
    pub fn received(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let events = connection.link.receive(bytes);
        let output = connection.link.take_output();
        if !output.is_empty() {
            self.output.push_back(Output::Bytes(id, output));
        }
        match events {
            Ok(events) => {
                for event in events {
                    match event {
                        ServerEvent::Ready { client, payload } => self.ready(id, client, &payload),
                        ServerEvent::Stanza(node) => self.stanza(id, &node),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "a client broke the protocol");
                self.output.push_back(Output::Close(id));
            }
        }
    }

    fn ready(&mut self, id: ConnectionId, client: PublicKey, payload: &[u8]) {
        match read(payload) {
            Ok(ClientIntent::Link { registration_id, identity, push_name }) => {
                self.offer_references(id, LinkRequest::new(client, registration_id, identity, push_name));
            }
            Ok(ClientIntent::Login { device }) => self.log_in(id, &device, client),
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "a client's payload is refused");
                self.fail_login(id, 400);
            }
        }
    }

    fn log_in(&mut self, id: ConnectionId, jid: &Jid, client: PublicKey) {
        let device = DeviceId { number: jid.user().to_owned(), device: jid.device() };
        let known = self.companion_mut(&device).filter(|companion| companion.noise == client);
        let Some(companion) = known else {
            self.fail_login(id, 401);
            return;
        };
        let old = companion.connection.replace(id);
        companion.caught_up = false;
        if let Some(old) = old {
            let conflict = Node::new("conflict").attr("type", "replaced");
            self.send(old, &Node::new("stream:error").child(conflict));
            self.leave(old);
        }
        self.set_role(id, Role::Online(device.clone()));
        let Some(account) = self.accounts.get(&device.number) else { return };
        let success = Node::new("success")
            .attr("t", self.now.secs())
            .attr("creation", self.now.secs())
            .attr("props", "28")
            .attr("lid", account.lid.with_device(device.device))
            .attr("display_name", account.name.clone());
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(success)));
        self.after(FIRST_FRAME_DELAY, Action::Backlog(device, id));
    }

    /// What waited for the login goes first; what comes from now on is sent at once.
    fn send_backlog(&mut self, device: DeviceId, id: ConnectionId) {
        let Some(companion) = self.companion_mut(&device).filter(|companion| companion.connection == Some(id)) else {
            return;
        };
        companion.caught_up = true;
        let backlog: Vec<Node> = companion.unacknowledged.iter().cloned().collect();
        let count = backlog.len();
        let preview = Node::new("ib").attr("from", Jid::service()).child(
            Node::new("offline_preview")
                .attr("count", count)
                .attr("message", count)
                .attr("receipt", "0")
                .attr("notification", "0")
                .attr("appdata", "0")
                .attr("call", "0")
                .attr("status", "0"),
        );
        self.send(id, &preview);
        for (index, node) in backlog.into_iter().enumerate() {
            self.send(id, &node.attr("offline", index));
        }
        let wait = if count == 0 { Duration::ZERO } else { OFFLINE_END_DELAY };
        self.after(wait, Action::OfflineEnd(device, id));
    }

    fn fail_login(&mut self, id: ConnectionId, reason: u64) {
        let failure = Node::new("failure").attr("reason", reason).attr("location", "sandbox");
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(failure)));
        self.after(FIRST_FRAME_DELAY * 2, Action::Close(id));
        self.set_role(id, Role::Leaving);
    }

    fn stanza(&mut self, id: ConnectionId, node: &Node) {
        let Some(connection) = self.connections.get(&id) else { return };
        let device = match &connection.role {
            Role::Online(device) => Some(device.clone()),
            Role::Linking(_) => None,
            Role::Handshaking | Role::Leaving => return,
        };
        if let (Some(tap), Some(device)) = (&mut self.tap, &device) {
            tap(&format!("{}:{}", device.number, device.device), node);
        }
        self.log("received", device.as_ref(), node);
        match (device, node.tag.as_ref()) {
            (None, "iq") => self.linking_iq(id, node),
            (None, _) => {}
            (Some(device), "iq") => self.iq(id, &device, node),
            (Some(device), "message") => self.take_message(id, &device, node),
            (Some(device), "receipt") => self.route_receipt(&device, node),
            (Some(device), "ack") => self.acknowledged(&device, node),
            (Some(_), _) => {}
        }
    }

    /// A device has taken a stanza: it need not be delivered again.
    fn acknowledged(&mut self, device: &DeviceId, node: &Node) {
        let Some(id) = node.text("id").map(|id| id.into_owned()) else { return };
        if let Some(companion) = self.companion_mut(device) {
            companion.unacknowledged.retain(|kept| !kept.is("id", &id));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(id, node) => self.send(id, &node),
            Action::Close(id) => {
                self.output.push_back(Output::Close(id));
                self.closed(id);
            }
            Action::Deliver(device, node) => self.deliver(&device, *node),
            Action::DeliverNow(device, node) => self.deliver_now(&device, *node),
            Action::Release(device) => self.release(&device),
            Action::Backlog(device, id) => self.send_backlog(device, id),
            Action::OfflineEnd(device, id) => {
                let delivered = self.companion_mut(&device).map_or(0, |companion| companion.unacknowledged.len());
                let offline = Node::new("offline").attr("count", delivered);
                self.send(id, &Node::new("ib").attr("from", Jid::service()).child(offline));
            }
            Action::Receipt { phone, receipt } => self.route_receipt(&DeviceId { number: phone, device: 0 }, &receipt),
            Action::Welcome(device) => self.welcome(&device),
        }
    }

    fn after(&mut self, wait: Duration, action: Action) {
        self.scheduled += 1;
        self.schedule.insert((self.now.plus(wait), self.scheduled), action);
    }

    /// Hands a stanza to a device; one that is a companion keeps it until it is acknowledged.
    fn deliver(&mut self, device: &DeviceId, node: Node) {
        if device.device == 0 {
            self.phone_receives(&device.number, &node);
        } else {
            self.deliver_with_faults(device, node);
        }
    }

    fn deliver_now(&mut self, device: &DeviceId, node: Node) {
        self.keep(device, node.clone());
        self.send_again(device, &node);
    }

    /// Keeps a stanza until the companion acknowledges it.
    fn keep(&mut self, device: &DeviceId, node: Node) {
        if let Some(companion) = self.companion_mut(device) {
            companion.unacknowledged.push_back(node);
        }
    }

    fn send_again(&mut self, device: &DeviceId, node: &Node) {
        let Some(companion) = self.companion_mut(device) else { return };
        if let Some(connection) = companion.connection.filter(|_| companion.caught_up) {
            self.send(connection, node);
        }
    }

    fn send(&mut self, id: ConnectionId, node: &Node) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let device = match &connection.role {
            Role::Online(device) => Some(device.clone()),
            _ => None,
        };
        match connection.link.send(node) {
            Ok(()) => {
                let bytes = connection.link.take_output();
                self.output.push_back(Output::Bytes(id, bytes));
                self.log("sent", device.as_ref(), node);
            }
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "a stanza cannot be sent");
                self.output.push_back(Output::Close(id));
            }
        }
    }

    /// A companion has asked to be removed: it is told so, and gone.
    fn remove_companion(&mut self, id: ConnectionId, device: &DeviceId) {
        if let Some(account) = self.accounts.get_mut(&device.number) {
            account.companions.remove(&device.device);
        }
        let conflict = Node::new("conflict").attr("type", "device_removed");
        let removed = Node::new("stream:error").attr("code", "401").child(conflict);
        self.after(RECEIPT_DELAY, Action::Send(id, Box::new(removed)));
        self.after(RECEIPT_DELAY * 2, Action::Close(id));
    }

    fn leave(&mut self, id: ConnectionId) {
        self.set_role(id, Role::Leaving);
        self.after(RECEIPT_DELAY, Action::Close(id));
    }

    fn set_role(&mut self, id: ConnectionId, role: Role) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.role = role;
        }
    }

    fn log(&mut self, direction: &'static str, device: Option<&DeviceId>, node: &Node) {
        self.stanzas_seen += 1;
        self.stanzas.push_back(StanzaLog {
            number: self.stanzas_seen,
            at: self.now,
            direction,
            device: device.map(|device| format!("{}:{}", device.number, device.device)),
            stanza: node.to_string(),
        });
        if self.stanzas.len() > STANZA_LOG {
            self.stanzas.pop_front();
        }
    }

    fn companion_mut(&mut self, device: &DeviceId) -> Option<&mut account::Companion> {
        self.accounts.get_mut(&device.number)?.companions.get_mut(&device.device)
    }

    /// The account of a user JID, by number or LID.
    fn number_of(&self, jid: &Jid) -> Option<String> {
        let number = match jid.server() {
            Server::Lid => self.numbers_by_lid.get(jid.user())?.clone(),
            Server::Pn | Server::Legacy => jid.user().to_owned(),
            _ => return None,
        };
        self.accounts.contains_key(&number).then_some(number)
    }

    fn new_stanza_id(&mut self) -> String {
        random_hex::<8>(&mut self.rng).to_uppercase()
    }

    /// All devices of an account, the phone first.
    fn devices_of(&self, number: &str) -> BTreeSet<DeviceId> {
        let companions = self.accounts.get(number).map(|account| account.companions.keys().copied());
        let devices = std::iter::once(0).chain(companions.into_iter().flatten());
        devices.map(|device| DeviceId { number: number.to_owned(), device }).collect()
    }
}
