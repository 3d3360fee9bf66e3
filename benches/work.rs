//! The measured operations of the Signal layer, as a caller does them.

use rand::SeedableRng;
use rand::rngs::StdRng;
use wharf::base::time::Timestamp;
use wharf::signal::{
    Buffer, Context, IdentityKeyPair, JumpLimit, LocalParty, PreKeyBundle, PreKeyId, PreKeyPair, PreKeySignalMessage,
    RemoteParty, Session, SignalMessage, SignedPreKeyId, SignedPreKeyPair,
};
use wharf::wire::Jid;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// One device, with what every operation of its sessions needs.
pub struct Device {
    pub rng: StdRng,
    pub buffer: Buffer,
    local: LocalParty,
    remote: RemoteParty,
    signed: SignedPreKeyPair,
    one_time: PreKeyPair,
}

impl Device {
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let local = LocalParty { identity: IdentityKeyPair::generate(&mut rng), registration_id: 5 };
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &local.identity, &mut rng);
        let one_time = PreKeyPair::generate(PreKeyId::FIRST, &mut rng);
        let remote = RemoteParty { address: Jid::pn("15550001111").protocol_address(), identity: None };
        Self { rng, buffer: Buffer::new(), local, remote, signed, one_time }
    }

    fn context(&mut self) -> Context<'_> {
        let limit = JumpLimit::default();
        Context { remote: &self.remote, limit, now: NOW, rng: &mut self.rng, buffer: &mut self.buffer }
    }

    pub fn bundle(&self) -> PreKeyBundle {
        PreKeyBundle {
            registration_id: 5,
            identity: self.local.identity.public(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public(),
            signature: self.signed.signature.to_vec(),
            one_time: Some((self.one_time.id, *self.one_time.pair.public())),
        }
    }

    /// X3DH as initiator, the signature of the bundle checked.
    pub fn initiate(&mut self, bundle: PreKeyBundle) -> Session {
        let mut session = Session::default();
        let bundle = bundle.verify().unwrap();
        session.initiate(&self.local, &self.remote, &bundle, NOW, &mut self.rng).unwrap();
        session
    }

    /// X3DH as responder, with the first decryption.
    pub fn accept(&mut self, bytes: &[u8]) -> Session {
        let mut session = Session::default();
        let message = PreKeySignalMessage::parse(bytes).unwrap();
        let (signed, one_time) = (self.signed.clone(), self.one_time.clone());
        let local = self.local.clone();
        session.accept(&local, &signed, Some(&one_time), &message, self.context()).unwrap();
        session
    }

    /// Encrypts into the buffer.
    pub fn seal(&mut self, session: &mut Session, text: &[u8]) -> &[u8] {
        session.encrypt(text, self.context()).unwrap().bytes()
    }

    /// Parses and decrypts into the buffer.
    pub fn open(&mut self, session: &mut Session, bytes: Vec<u8>) -> &[u8] {
        session.decrypt(&SignalMessage::parse(bytes).unwrap(), self.context()).unwrap()
    }

    /// One message of this side's session to the other's.
    pub fn say(&mut self, session: &mut Session, text: &[u8], to: &mut Device, theirs: &mut Session) {
        let bytes = self.seal(session, text).to_vec();
        to.open(theirs, bytes);
    }
}

/// Two devices whose sessions have answered each other.
pub fn talking(seed: u64) -> ((Device, Session), (Device, Session)) {
    let (mut alice, mut bob) = (Device::new(seed), Device::new(seed + 1));
    let mut at_alice = alice.initiate(bob.bundle());
    let hello = alice.seal(&mut at_alice, b"hello").to_vec();
    let mut at_bob = bob.accept(&hello);
    bob.say(&mut at_bob, b"answer", &mut alice, &mut at_alice);
    ((alice, at_alice), (bob, at_bob))
}

impl Device {
    /// Receives a message that does not decrypt, as one of another person.
    #[allow(dead_code, reason = "the peers' bench has no forgeries")]
    pub fn refuse(&mut self, session: &mut Session, message: &SignalMessage) {
        let Self { remote, rng, buffer, .. } = self;
        let ctx = Context { remote, limit: JumpLimit::new(2000), now: NOW, rng, buffer };
        session.decrypt(message, ctx).unwrap_err();
    }
}

/// A message of a key that nobody has, with this counter.
#[allow(dead_code, reason = "the peers' bench has no forgeries")]
pub fn forged(counter: u32) -> SignalMessage {
    let mut bytes = vec![0x33, 0x0a, 33, 5];
    bytes.extend([9; 32]);
    bytes.push(0x10);
    let mut rest = counter;
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.extend([rest as u8, 0x18, 0, 0x22, 16]);
    bytes.extend([7; 16 + 8]);
    SignalMessage::parse(bytes).unwrap()
}

/// A session with this many archived states.
pub fn with_archived(count: usize) -> (Device, Session) {
    let (mut alice, bob) = (Device::new(1), Device::new(2));
    let mut session = alice.initiate(bob.bundle());
    let bundle = bob.bundle().verify().unwrap();
    for _ in 0..count {
        session.initiate(&alice.local, &alice.remote, &bundle, NOW, &mut alice.rng).unwrap();
    }
    (alice, session)
}
