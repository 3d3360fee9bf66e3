//! Linked devices without any account logic: they send the stanzas they are told to, and keep what they get.

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::time::Duration;
use wharf::base::secret::Secret;
use wharf::base::time::Timestamp;
use wharf::sandbox::world::{ConnectionId, Output, World};
use wharf::signal::{IdentityKeyPair, KeyPair, PreKeyId, PreKeyPair, SignedPreKeyId, SignedPreKeyPair};
use wharf::wire::adv::verify_pairing;
use wharf::wire::payload::{ClientVersion, NoiseKeys, login, registration};
use wharf::wire::prekeys::{key_node, skey_node};
use wharf::wire::qr::QrCode;
use wharf::wire::transport::{ClientEvent, ClientTransport};
use wharf::wire::{Jid, Node};

struct Device {
    keys: NoiseKeys,
    identity: IdentityKeyPair,
    adv_secret: Secret<32>,
    jid: Jid,
    link: Option<(ConnectionId, ClientTransport)>,
    inbox: Vec<Node>,
    /// True when it acknowledges stanzas.
    polite: bool,
}

/// A world in virtual time, with the rows that it wants kept, and devices.
pub struct Probes {
    pub now: Timestamp,
    pub world: World,
    rows: BTreeMap<String, Vec<u8>>,
    devices: Vec<Device>,
    rng: StdRng,
    connections: u64,
    asked: u64,
}

impl Probes {
    /// A world whose rows are stored.
    pub fn new() -> Self {
        Self::with(|now| World::restore(BTreeMap::new(), 1, now).unwrap())
    }

    /// A world without stored rows.
    pub fn forgetful() -> Self {
        Self::with(|now| World::new(1, now))
    }

    fn with(world: impl FnOnce(Timestamp) -> World) -> Self {
        let now = Timestamp::from_secs(1_760_000_000);
        let world = world(now);
        let rng = StdRng::seed_from_u64(2);
        Self { now, world, rows: BTreeMap::new(), devices: Vec::new(), rng, connections: 0, asked: 0 }
    }

    /// A device linked to the phone of this number, logged in.
    pub fn linked(&mut self, number: &str) -> usize {
        self.world.create_phone(number, Some(number)).unwrap();
        let keys = NoiseKeys { ours: KeyPair::generate(&mut self.rng), root: *self.world.root_key() };
        let identity = IdentityKeyPair::generate(&mut self.rng);
        let adv_secret = Secret::generate(&mut self.rng);
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &identity, &mut self.rng);
        let payload = registration(ClientVersion::DEFAULT, 7, &identity.public(), &signed, "probe");
        let jid = Jid::pn(number.to_owned());
        self.devices.push(Device { keys, identity, adv_secret, jid, link: None, inbox: Vec::new(), polite: true });
        let device = self.devices.len() - 1;
        self.connect(device, payload);
        self.settle();
        let offer = self.take(device, "iq").remove(0);
        let reference =
            String::from_utf8_lossy(offer.find("pair-device").unwrap().nodes()[0].content_bytes()).into_owned();
        let it = &self.devices[device];
        let code = QrCode {
            reference,
            noise: *it.keys.ours.public(),
            identity: it.identity.public(),
            adv_secret: it.adv_secret.clone(),
        };
        self.world.scan(number, &code.to_text()).unwrap();
        self.settle();
        let success = self.take(device, "iq").remove(0);
        let paired = success.find("pair-success").unwrap();
        let it = &mut self.devices[device];
        it.jid = paired.find("device").unwrap().jid("jid").unwrap();
        let container = paired.find("device-identity").unwrap().content_bytes();
        let verified = verify_pairing(container, &it.adv_secret, &it.identity.public()).unwrap();
        let signed = verified.self_sign(&it.identity, &mut self.rng).unwrap();
        let sign = Node::new("pair-device-sign").child(Node::new("device-identity").bytes(signed));
        self.send(device, Node::new("iq").attr("type", "result").attr("id", "1").child(sign));
        self.settle();
        self.log_in(device);
        device
    }

    /// Gives the service a signed prekey and this many others.
    pub fn upload_prekeys(&mut self, device: usize, count: u32) {
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &self.devices[device].identity, &mut self.rng);
        let mut id = PreKeyId::FIRST;
        let mut keys = Vec::new();
        for _ in 0..count {
            let pair = PreKeyPair::generate(id, &mut self.rng);
            keys.push(key_node(id, pair.pair.public()));
            id = id.next();
        }
        let skey = skey_node(signed.id, signed.pair.public(), &signed.signature);
        let iq = Node::new("iq").attr("id", "keys").attr("type", "set").attr("xmlns", "encrypt");
        self.send(device, iq.children([Node::new("list").children(keys), skey]));
    }

    pub fn jid(&self, device: usize) -> Jid {
        self.devices[device].jid.clone()
    }

    /// The same device by its LID.
    pub fn lid(&self, device: usize) -> Jid {
        let jid = self.jid(device);
        let lid = self.world.phone(jid.user()).unwrap().lid;
        Jid::parse(&lid).unwrap().with_device(jid.device())
    }

    pub fn log_in(&mut self, device: usize) {
        let payload = login(&self.devices[device].jid, ClientVersion::DEFAULT, 1).unwrap();
        self.connect(device, payload);
        self.settle();
    }

    fn connect(&mut self, device: usize, payload: Vec<u8>) {
        let ephemeral = KeyPair::generate(&mut self.rng);
        let mut link = ClientTransport::connect(self.devices[device].keys.clone(), payload, ephemeral, None).unwrap();
        self.connections += 1;
        let id = ConnectionId(self.connections);
        self.world.connected(id);
        self.world.received(id, &link.take_output());
        self.devices[device].link = Some((id, link));
    }

    pub fn is_connected(&self, device: usize) -> bool {
        self.devices[device].link.is_some()
    }

    pub fn cut(&mut self, device: usize) {
        if let Some((id, _)) = self.devices[device].link.take() {
            self.world.closed(id);
        }
    }

    /// Stops acknowledging stanzas.
    pub fn be_silent(&mut self, device: usize) {
        self.devices[device].polite = false;
    }

    /// Restarts the service from the stored rows.
    pub fn restart(&mut self) {
        for device in 0..self.devices.len() {
            self.cut(device);
        }
        self.keep();
        self.world = World::restore(self.rows.clone(), 99, self.now).unwrap();
    }

    /// The stored rows of the world.
    pub fn into_rows(mut self) -> BTreeMap<String, Vec<u8>> {
        self.keep();
        self.rows
    }

    fn keep(&mut self) {
        for change in self.world.take_changes() {
            match change.value {
                Some(value) => self.rows.insert(change.key, value),
                None => self.rows.remove(&change.key),
            };
        }
    }

    pub fn send(&mut self, device: usize, node: Node) {
        let (id, link) = self.devices[device].link.as_mut().expect("the device is connected");
        link.send(&node).unwrap();
        let (id, bytes) = (*id, link.take_output());
        self.world.received(id, &bytes);
    }

    /// Sends a request. Returns the response, of any type.
    pub fn ask(&mut self, device: usize, kind: &'static str, xmlns: &'static str, to: &Jid, content: Node) -> Node {
        self.asked += 1;
        let id = format!("ask-{}", self.asked);
        let iq = Node::new("iq").attr("id", id.clone()).attr("type", kind).attr("xmlns", xmlns).attr("to", to);
        self.send(device, iq.child(content));
        self.carry();
        let answers = &mut self.devices[device].inbox;
        let at = answers.iter().position(|node| node.tag == "iq" && node.is("id", &id));
        answers.remove(at.expect("every question is answered"))
    }

    /// Takes the received stanzas with this tag, in order.
    pub fn take(&mut self, device: usize, tag: &str) -> Vec<Node> {
        self.devices[device].inbox.extract_if(.., |node| node.tag == tag).collect()
    }

    /// Drops all received stanzas.
    pub fn clear(&mut self) {
        self.settle();
        self.devices.iter_mut().for_each(|device| device.inbox.clear());
    }

    fn carry(&mut self) {
        loop {
            self.keep();
            let Some(output) = self.world.next_output() else { return };
            match output {
                Output::Close(id) => {
                    self.world.closed(id);
                    if let Some(device) = self.owner(id) {
                        self.devices[device].link = None;
                    }
                }
                Output::Bytes(id, bytes) => {
                    let Some(device) = self.owner(id) else { continue };
                    let (_, link) = self.devices[device].link.as_mut().unwrap();
                    let events = link.receive(&bytes).unwrap();
                    let answer = link.take_output();
                    self.world.received(id, &answer);
                    for event in events {
                        if let ClientEvent::Stanza(node) = event {
                            self.got(device, node);
                        }
                    }
                }
            }
        }
    }

    fn got(&mut self, device: usize, node: Node) {
        let answered = matches!(node.tag.as_ref(), "message" | "receipt" | "notification");
        if answered && self.devices[device].polite {
            let ack = Node::new("ack").attr("class", node.tag.clone()).maybe("id", node.get("id").cloned());
            self.send(device, ack.maybe("to", node.get("from").cloned()));
        }
        self.devices[device].inbox.push(node);
    }

    fn owner(&self, id: ConnectionId) -> Option<usize> {
        self.devices.iter().position(|device| device.link.as_ref().is_some_and(|(connected, _)| *connected == id))
    }

    /// Advances time by this much.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        self.carry();
        while let Some(next) = self.world.deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.world.advance(self.now);
            self.carry();
        }
        self.now = end;
        self.world.advance(end);
        self.carry();
    }

    pub fn settle(&mut self) {
        self.pass(Duration::from_secs(5));
    }
}
