//! Conversations between two ends, one-to-one and in groups: one enum of actions (deliver, lose, reorder, restore) for the property
//! test, the fuzz target and the comparison with other implementations.

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, HashSet};
use wharf::base::address::ProtocolAddress;
use wharf::base::time::Timestamp;
use wharf::signal::{
    Buffer, Context, IdentityKeyPair, JumpLimit, LocalParty, OurSenderKey, Part, PartChanges, PreKeyBundle, PreKeyId,
    PreKeyPair, PreKeySignalMessage, RemoteParty, SenderKeyDistribution, SenderKeyMessage, Session, SignalError,
    SignalMessage, SignedPreKeyId, SignedPreKeyPair, TheirSenderKeys,
};

/// The jump limit of the newest foreign clients, who make no difference between the states of a session.
const LIMIT: JumpLimit = JumpLimit { ahead: 2000, stray: Some(2000) };
const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// The next action. `side` is one of the two ends; `pick` chooses among the messages on their way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Send {
        side: bool,
        length: u8,
    },
    /// Any of the messages arrives: delay and reordering are in the choice.
    Receive {
        side: bool,
        pick: u8,
    },
    /// Arrives, and stays on its way: a duplicate.
    Duplicate {
        side: bool,
        pick: u8,
    },
    Drop {
        side: bool,
        pick: u8,
    },
    Corrupt {
        side: bool,
        pick: u8,
        bit: u16,
    },
    /// Many messages that never arrive.
    Lose {
        side: bool,
        hundreds: u8,
    },
    Archive {
        side: bool,
    },
    Snapshot {
        side: bool,
    },
    /// Restores the snapshot, unless a message was written since: a key must not be used twice.
    Restore {
        side: bool,
    },
    /// The side offers new keys, and the other side uses them.
    Rekey {
        side: bool,
    },
    /// Stores and loads the state.
    Store {
        side: bool,
    },
}

impl Action {
    /// Any four bytes are an action.
    pub fn from_bytes([kind, side, pick, more]: [u8; 4]) -> Self {
        let bit = u16::from_be_bytes([side, more]) >> 1;
        let side = side & 1 == 1;
        match kind % 40 {
            0..=13 => Self::Send { side, length: more },
            14..=24 => Self::Receive { side, pick },
            25..=27 => Self::Duplicate { side, pick },
            28..=29 => Self::Drop { side, pick },
            30..=31 => Self::Corrupt { side, pick, bit },
            32 => Self::Lose { side, hundreds: more % 3 },
            33 => Self::Archive { side },
            34 => Self::Snapshot { side },
            35 => Self::Restore { side },
            36 => Self::Rekey { side },
            _ => Self::Store { side },
        }
    }
}

/// The refusal of a message, as far as implementations must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Duplicate,
    TooFar,
    NoSession,
    UnknownPreKey,
    UnknownSenderKey,
    Invalid,
}

/// A message as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub bytes: Vec<u8>,
    pub is_prekey: bool,
}

/// Public keys that one end gives the other, so that it can be written to, or read.
#[derive(Debug, Clone)]
pub enum Offer {
    Bundle(Box<PreKeyBundle>),
    Distribution(Vec<u8>),
}

/// One party of a conversation.
pub trait End {
    fn in_group(&self) -> bool {
        false
    }
    fn offer(&mut self) -> Offer;
    fn take(&mut self, offer: &Offer);
    /// None without a session.
    fn write(&mut self, text: &[u8]) -> Option<Sent>;
    fn read(&mut self, sent: &Sent) -> Result<Vec<u8>, Refusal>;
    fn archive(&mut self);
    fn snapshot(&mut self);
    fn restore(&mut self);
    /// Stores and loads, where that can be checked.
    fn store(&mut self) {}
    /// The state, which a refused message must not change.
    fn trace(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// Outcome of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// True for a PreKey message; `None` without a session.
    Sent(Option<bool>),
    Read(Result<Vec<u8>, Refusal>),
    Done,
}

struct Packet {
    number: u32,
    text: Vec<u8>,
    sent: Sent,
}

/// Plays the actions. Panics where an end breaks what holds for every implementation: a text is read unaltered or not at all,
/// never twice before an end was put back, a refusal leaves no trace, and a new offer heals whatever has happened.
pub fn converse(ends: &mut [&mut dyn End; 2], actions: &[Action]) -> Vec<Outcome> {
    let mut on_way: [Vec<Packet>; 2] = [Vec::new(), Vec::new()];
    let mut read: [HashSet<u32>; 2] = Default::default();
    let mut written = [true; 2];
    let mut number = 0u32;
    rekey(ends, true);
    let mut outcomes = Vec::with_capacity(actions.len());
    for action in actions {
        outcomes.push(match *action {
            Action::Send { side, length } => {
                number += 1;
                written[usize::from(side)] = true;
                let text = number.to_be_bytes().repeat(1 + usize::from(length) % 20);
                let sent = ends[usize::from(side)].write(&text);
                let is_prekey = sent.as_ref().map(|sent| sent.is_prekey);
                on_way[usize::from(!side)].extend(sent.map(|sent| Packet { number, text, sent }));
                Outcome::Sent(is_prekey)
            }
            Action::Receive { side, pick } | Action::Duplicate { side, pick }
                if !on_way[usize::from(side)].is_empty() =>
            {
                let to = usize::from(side);
                let at = usize::from(pick) % on_way[to].len();
                let packet = &on_way[to][at];
                let result = receive(ends[to], &packet.sent);
                if let Ok(text) = &result {
                    assert_eq!(*text, packet.text);
                    assert!(read[to].insert(packet.number), "message {} is read twice", packet.number);
                }
                if matches!(action, Action::Receive { .. }) {
                    on_way[to].swap_remove(at);
                }
                Outcome::Read(result)
            }
            Action::Drop { side, pick } if !on_way[usize::from(side)].is_empty() => {
                let way = &mut on_way[usize::from(side)];
                way.swap_remove(usize::from(pick) % way.len());
                Outcome::Done
            }
            Action::Corrupt { side, pick, bit } if !on_way[usize::from(side)].is_empty() => {
                let to = usize::from(side);
                let packet = &on_way[to][usize::from(pick) % on_way[to].len()];
                let mut sent = packet.sent.clone();
                // Not the keys at the beginning of a PreKey message: others take two spellings of a key for two keys.
                let spared = if sent.is_prekey { 8 * 80 } else { 0 };
                let bit = spared + usize::from(bit) % (8 * sent.bytes.len() - spared);
                sent.bytes[bit / 8] ^= 1 << (bit % 8);
                let result = receive(ends[to], &sent);
                // The fields of a PreKey message around the inner message are not authenticated.
                if let Ok(text) = &result {
                    assert_eq!(*text, packet.text);
                    assert!(sent.is_prekey && read[to].insert(packet.number), "an altered message is read");
                }
                Outcome::Read(result)
            }
            Action::Lose { side, hundreds } => {
                let lost = 100 * u32::from(hundreds);
                written[usize::from(side)] = true;
                (0..lost).for_each(|_| drop(ends[usize::from(side)].write(b"lost")));
                Outcome::Done
            }
            Action::Archive { side } => {
                ends[usize::from(side)].archive();
                Outcome::Done
            }
            Action::Snapshot { side } => {
                ends[usize::from(side)].snapshot();
                written[usize::from(side)] = false;
                Outcome::Done
            }
            Action::Restore { side } => {
                if !written[usize::from(side)] {
                    ends[usize::from(side)].restore();
                    read[usize::from(side)].clear();
                }
                Outcome::Done
            }
            Action::Rekey { side } => {
                rekey(ends, side);
                written = [true; 2];
                Outcome::Done
            }
            Action::Store { side } => {
                ends[usize::from(side)].store();
                Outcome::Done
            }
            _ => Outcome::Done,
        });
    }
    for side in [false, true] {
        renew(ends, side);
        let sent = ends[usize::from(side)].write(b"healed").expect("there is a session now");
        assert_eq!(ends[usize::from(!side)].read(&sent), Ok(b"healed".to_vec()), "new keys heal everything");
    }
    outcomes
}

fn receive(end: &mut dyn End, sent: &Sent) -> Result<Vec<u8>, Refusal> {
    let before = end.trace();
    let result = end.read(sent);
    assert!(result.is_ok() || end.trace() == before, "a refused message leaves a trace");
    result
}

fn rekey(ends: &mut [&mut dyn End; 2], side: bool) {
    let offer = ends[usize::from(side)].offer();
    ends[usize::from(!side)].take(&offer);
}

/// Lets this side write under new keys: a bundle lets the other side write, a sender key the side itself.
fn renew(ends: &mut [&mut dyn End; 2], side: bool) {
    let group = ends[0].in_group();
    rekey(ends, if group { side } else { !side });
}

fn refusal(error: SignalError) -> Refusal {
    match error {
        SignalError::Duplicate { .. } => Refusal::Duplicate,
        SignalError::TooFarInFuture { .. } => Refusal::TooFar,
        SignalError::NoSession => Refusal::NoSession,
        SignalError::UnknownPreKey { .. } => Refusal::UnknownPreKey,
        SignalError::UnknownSenderKey { .. } => Refusal::UnknownSenderKey,
        _ => Refusal::Invalid,
    }
}

/// The rows of a store.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn apply(rows: &mut Rows, changes: PartChanges) {
    for (part, bytes) in changes {
        match bytes {
            Some(bytes) => rows.insert(part.suffix(), bytes.to_vec()),
            None => rows.remove(&part.suffix()),
        };
    }
}

fn parts(rows: &Rows) -> impl Iterator<Item = (Part, &Vec<u8>)> {
    rows.iter().map(|(key, bytes)| (Part::parse(key).unwrap(), bytes))
}

#[derive(Clone)]
struct Device {
    session: Session,
    rows: Rows,
    prekeys: BTreeMap<u32, PreKeyPair>,
}

/// Ours, one-to-one.
pub struct OurDevice {
    rng: StdRng,
    buffer: Buffer,
    local: LocalParty,
    remote: RemoteParty,
    signed: SignedPreKeyPair,
    next_prekey: PreKeyId,
    now: Device,
    then: Option<Device>,
}

impl OurDevice {
    pub fn new(seed: u64, remote: ProtocolAddress) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let local = LocalParty { identity: IdentityKeyPair::generate(&mut rng), registration_id: 77 };
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &local.identity, &mut rng);
        let now = Device { session: Session::default(), rows: Rows::new(), prekeys: BTreeMap::new() };
        let remote = RemoteParty { address: remote, identity: None };
        Self { rng, buffer: Buffer::new(), local, remote, signed, next_prekey: PreKeyId::FIRST, now, then: None }
    }

    fn try_read(&mut self, sent: &Sent) -> Result<Vec<u8>, SignalError> {
        let Device { session, prekeys, .. } = &mut self.now;
        let (remote, limit) = (&self.remote, LIMIT);
        let ctx = Context { remote, limit, now: NOW, rng: &mut self.rng, buffer: &mut self.buffer };
        if !sent.is_prekey {
            return session.decrypt(&SignalMessage::parse(&sent.bytes[..])?, ctx).map(<[u8]>::to_vec);
        }
        let message = PreKeySignalMessage::parse(&sent.bytes)?;
        if session.knows(&message) {
            return session.decrypt_known(&message, ctx).map(<[u8]>::to_vec);
        }
        let one_time = message.pre_key_id.and_then(|id| prekeys.get(&id.get()));
        let (text, used) = session.accept(&self.local, &self.signed, one_time, &message, ctx)?;
        if let Some(id) = used {
            prekeys.remove(&id.get());
        }
        Ok(text.to_vec())
    }
}

impl End for OurDevice {
    fn offer(&mut self) -> Offer {
        let one_time = PreKeyPair::generate(self.next_prekey, &mut self.rng);
        self.next_prekey = self.next_prekey.next();
        let bundle = PreKeyBundle {
            registration_id: self.local.registration_id,
            identity: self.local.identity.public(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public(),
            signature: self.signed.signature.to_vec(),
            one_time: Some((one_time.id, *one_time.pair.public())),
        };
        self.now.prekeys.insert(one_time.id.get(), one_time);
        Offer::Bundle(Box::new(bundle))
    }

    fn take(&mut self, offer: &Offer) {
        let Offer::Bundle(bundle) = offer else { panic!("a bundle is expected") };
        let bundle = (**bundle).clone().verify().unwrap();
        self.now.session.initiate(&self.local, &self.remote, &bundle, NOW, &mut self.rng).unwrap();
    }

    fn write(&mut self, text: &[u8]) -> Option<Sent> {
        let (remote, limit) = (&self.remote, LIMIT);
        let ctx = Context { remote, limit, now: NOW, rng: &mut self.rng, buffer: &mut self.buffer };
        let sealed = match self.now.session.encrypt(text, ctx) {
            Err(SignalError::NoSession) => return None,
            sealed => sealed.unwrap(),
        };
        Some(Sent { bytes: sealed.bytes().to_vec(), is_prekey: sealed.is_prekey() })
    }

    fn read(&mut self, sent: &Sent) -> Result<Vec<u8>, Refusal> {
        self.try_read(sent).map_err(refusal)
    }

    fn archive(&mut self) {
        self.now.session.archive();
    }

    fn snapshot(&mut self) {
        self.then = Some(self.now.clone());
    }

    fn restore(&mut self) {
        self.now = self.then.clone().unwrap_or_else(|| self.now.clone());
    }

    fn store(&mut self) {
        let changes = self.now.session.take_changes();
        apply(&mut self.now.rows, changes);
        let loaded = Session::from_parts(parts(&self.now.rows)).unwrap();
        assert_eq!(loaded.to_parts(), self.now.session.to_parts(), "what is stored is the session");
        self.now.session = loaded;
    }

    fn trace(&self) -> Vec<Vec<u8>> {
        self.now.session.to_parts().into_iter().map(|(_, bytes)| bytes.to_vec()).collect()
    }
}

#[derive(Clone)]
struct Keys {
    own: OurSenderKey,
    theirs: TheirSenderKeys,
    rows: Rows,
}

/// Ours, in a group.
pub struct OurMember {
    rng: StdRng,
    buffer: Buffer,
    now: Keys,
    then: Option<Keys>,
}

impl OurMember {
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let own = OurSenderKey::generate(&mut rng);
        let now = Keys { own, theirs: TheirSenderKeys::default(), rows: Rows::new() };
        Self { rng, buffer: Buffer::new(), now, then: None }
    }
}

impl End for OurMember {
    fn in_group(&self) -> bool {
        true
    }

    fn offer(&mut self) -> Offer {
        self.now.own = OurSenderKey::generate(&mut self.rng);
        Offer::Distribution(self.now.own.distribution().encode())
    }

    fn take(&mut self, offer: &Offer) {
        let Offer::Distribution(bytes) = offer else { panic!("a distribution is expected") };
        self.now.theirs.process(&SenderKeyDistribution::parse(bytes).unwrap());
    }

    fn write(&mut self, text: &[u8]) -> Option<Sent> {
        let bytes = self.now.own.encrypt(text, &mut self.rng, &mut self.buffer).unwrap().to_vec();
        Some(Sent { bytes, is_prekey: false })
    }

    fn read(&mut self, sent: &Sent) -> Result<Vec<u8>, Refusal> {
        let message = SenderKeyMessage::parse(&sent.bytes[..]).map_err(refusal)?;
        self.now.theirs.decrypt(&message, LIMIT, &mut self.buffer).map(<[u8]>::to_vec).map_err(refusal)
    }

    fn archive(&mut self) {}

    fn snapshot(&mut self) {
        self.then = Some(self.now.clone());
    }

    fn restore(&mut self) {
        self.now = self.then.clone().unwrap_or_else(|| self.now.clone());
    }

    fn store(&mut self) {
        self.now.own = OurSenderKey::decode(&self.now.own.encode()).unwrap();
        let changes = self.now.theirs.take_changes();
        apply(&mut self.now.rows, changes);
        let loaded = TheirSenderKeys::from_parts(parts(&self.now.rows)).unwrap();
        assert_eq!(loaded.to_parts(), self.now.theirs.to_parts(), "what is stored is the keys");
        self.now.theirs = loaded;
    }

    fn trace(&self) -> Vec<Vec<u8>> {
        self.now.theirs.to_parts().into_iter().map(|(_, bytes)| bytes.to_vec()).collect()
    }
}
