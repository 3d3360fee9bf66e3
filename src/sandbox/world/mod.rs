//! The service and its phones as one machine: bytes of connections in, bytes out, time as an argument.
//!
//! Facts: `sandbox-service.md`. Invariant: what a device has not acknowledged is kept and delivered again.

mod control;
mod directory;
mod error;
mod groups;
mod linking;
mod net;
mod persistence;
mod phone;
mod registry;
mod routing;

pub use control::{PhoneContext, PhoneMessage, PhoneSummary, StanzaLog};
pub use error::WorldError;
pub use groups::membership::{GroupSummary, MemberChange, MemberRole, MemberSummary};
pub use linking::passkey::{PasskeyFault, PasskeyPolicy, PasskeyStep};
pub use net::faults::{FaultKind, FaultSummary, NewFault};
pub use persistence::rows::Change;
pub use phone::{PhoneMedia, Writing};

use crate::base::ids::random_hex;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::signal::{KeyPair, PublicKey};
use crate::wire::link::{ServerEvent, ServerLink};
use crate::wire::{CertAuthority, Jid, Node, Server};
use groups::membership::Group;
use linking::scan::LinkRequest;
use net::faults::Fault;
use persistence::rows::Row;
use rand::SeedableRng;
use rand::rngs::StdRng;
use registry::account::{Account, Kept};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
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
    OfflineEnd(DeviceId, ConnectionId, usize),
    /// The phone answers a message with a receipt of this type.
    Receipt {
        phone: String,
        receipt: Box<Node>,
    },
    /// A phone vouches for a client that has proved the code.
    Vouch {
        client: ConnectionId,
        number: String,
        adv_secret: Secret<32>,
    },
    /// A new companion is given keys and history by its phone.
    Welcome(DeviceId),
}

/// The service's own keys.
struct ServiceKeys {
    root: KeyPair,
    intermediate: KeyPair,
    noise: KeyPair,
}

impl ServiceKeys {
    fn generate(rng: &mut StdRng) -> Self {
        Self { root: KeyPair::generate(rng), intermediate: KeyPair::generate(rng), noise: KeyPair::generate(rng) }
    }
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
    groups: BTreeMap<Jid, Group>,
    media: HashMap<String, Arc<Vec<u8>>>,
    media_size: usize,
    media_host: Option<String>,
    /// What differs from what is kept; `None` where nothing is.
    changed: Option<BTreeSet<Row>>,
    /// The keys' row, as it is kept.
    service: Vec<u8>,
    /// The last place in a queue.
    sequence: u64,
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
        let keys = ServiceKeys::generate(&mut rng);
        Self::with_keys(rng, keys, now)
    }

    fn with_keys(mut rng: StdRng, keys: ServiceKeys, now: Timestamp) -> Self {
        let ServiceKeys { root, intermediate, noise } = keys;
        let authority = CertAuthority::new(root, intermediate);
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
            groups: BTreeMap::new(),
            media: HashMap::new(),
            media_size: 0,
            media_host: None,
            changed: None,
            service: Vec::new(),
            sequence: 0,
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
            companion.backlog = None;
            let was_available = std::mem::take(&mut companion.available);
            for watched in std::mem::take(&mut companion.watching) {
                if let Some(account) = self.accounts.get_mut(&watched) {
                    account.watchers.retain(|(watcher, _)| *watcher != device);
                }
            }
            if was_available {
                self.announce_presence(&device.number);
            }
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
                        ServerEvent::Ready { client, payload, handshake } => {
                            self.ready(id, (client, handshake), &payload)
                        }
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
            (Some(device), "ib") => self.take_ib(&device, id, node),
            (Some(device), "presence") => self.take_presence(&device, node),
            (Some(device), "chatstate") => self.route_chat_state(&device, node),
            (Some(_), _) => {}
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
            Action::OfflineEnd(device, id, count) => self.say_backlog_ended(&device, id, count),
            Action::Receipt { phone, receipt } => self.route_receipt(&DeviceId { number: phone, device: 0 }, &receipt),
            Action::Vouch { client, number, adv_secret } => self.vouch_after_code(&number, client, &adv_secret),
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
        self.sequence += 1;
        let sequence = self.sequence;
        if let Some(companion) = self.companion_mut(device) {
            companion.queue.push_back(Kept { sequence, node });
            self.touch(|| Row::Queue(device.clone(), sequence));
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

    fn companion_mut(&mut self, device: &DeviceId) -> Option<&mut registry::account::Companion> {
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
