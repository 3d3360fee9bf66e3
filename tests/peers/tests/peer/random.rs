//! Random conversations with `wacore-libsignal`: whatever the network does, both read the same texts, and refuse the same
//! copies for the same kind of reason. Seeded; `WHARF_SEEDS=5000` runs more of them.

use crate::libsignal::{Member, Peer, Refusal};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wharf::signal::{
    Ciphertext, IdentityKeyPair, JumpLimit, LocalParty, OurSenderKey, SenderKeyDistribution, SenderKeyMessage, Session,
    SignalError, SignalMessage, TheirSenderKeys,
};

fn seeds() -> u64 {
    std::env::var("WHARF_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(300)
}

/// Something on its way, and whether a copy of it was read.
#[derive(Clone)]
struct Packet {
    text: Vec<u8>,
    bytes: Vec<u8>,
    is_prekey: bool,
    read: bool,
    /// How many chains its sender had begun when it was sent.
    chains: usize,
}

/// What the network does next.
#[derive(Debug)]
enum Action {
    Send { from_peer: bool },
    Deliver { to_peer: bool },
    Drop { to_peer: bool },
    Corrupt { to_peer: bool },
    Store,
}

fn next_action(rng: &mut StdRng) -> Action {
    let side = rng.random_bool(0.5);
    match rng.random_range(0..20) {
        0..=8 => Action::Send { from_peer: side },
        9..=15 => Action::Deliver { to_peer: side },
        16 => Action::Drop { to_peer: side },
        17 | 18 => Action::Corrupt { to_peer: side },
        _ => Action::Store,
    }
}

fn kind(error: SignalError) -> Refusal {
    match error {
        SignalError::Duplicate { .. } => Refusal::Duplicate,
        SignalError::UnknownSenderKey { .. } => Refusal::UnknownSenderKey,
        _ => Refusal::Invalid,
    }
}

fn established(rng: &mut StdRng) -> (Session, Peer) {
    let local = LocalParty { identity: IdentityKeyPair::generate(rng), registration_id: 5 };
    let mut peer = Peer::new(rng.random_range(0..u64::MAX));
    let mut session = Session::default();
    session.initiate(&local, &peer.bundle().verify().unwrap(), rng).unwrap();
    let Ciphertext::PreKey(hello) = session.encrypt(b"hello").unwrap() else { panic!() };
    assert_eq!(peer.decrypt(&hello, true), b"hello");
    let (answer, _) = peer.encrypt(b"answer");
    let answer = SignalMessage::parse(&answer).unwrap();
    assert_eq!(session.decrypt(&answer, JumpLimit::default(), rng).unwrap(), b"answer");
    (session, peer)
}

fn corrupted(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = rng.random_range(0..bytes.len());
    bytes[place] ^= 1 << rng.random_range(0..8);
    bytes
}

#[test]
fn random_direct_conversations_agree() {
    for seed in 0..seeds() {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut ours, mut peer) = established(&mut rng);
        let (mut to_peer, mut to_ours): (Vec<Packet>, Vec<Packet>) = (Vec::new(), Vec::new());
        // Messages read by each side so far: each may make it turn its ratchet once.
        let (mut read_by_ours, mut read_by_peer) = (0, 0);
        for step in 0..120u32 {
            let text = step.to_be_bytes().repeat(rng.random_range(1..20));
            match next_action(&mut rng) {
                Action::Send { from_peer: true } => {
                    let (bytes, is_prekey) = peer.encrypt(&text);
                    to_ours.push(Packet { text, bytes, is_prekey, read: false, chains: read_by_peer });
                }
                Action::Send { from_peer: false } => {
                    let Ciphertext::Signal(bytes) = ours.encrypt(&text).unwrap() else { panic!("confirmed") };
                    to_peer.push(Packet { text, bytes, is_prekey: false, read: false, chains: read_by_ours });
                }
                Action::Deliver { to_peer: true } if !to_peer.is_empty() => {
                    let at = rng.random_range(0..to_peer.len());
                    let packet = &mut to_peer[at];
                    // Five receiver chains are kept: what is older is lost by design, on both sides alike.
                    if read_by_ours - packet.chains < 4 {
                        let result = peer.try_decrypt(&packet.bytes, packet.is_prekey);
                        let expected = if packet.read { Err(Refusal::Duplicate) } else { Ok(packet.text.clone()) };
                        assert_eq!(result, expected, "seed {seed}, step {step}");
                        read_by_peer += usize::from(!packet.read);
                        packet.read = true;
                    }
                }
                Action::Deliver { to_peer: false } if !to_ours.is_empty() => {
                    let at = rng.random_range(0..to_ours.len());
                    let packet = &mut to_ours[at];
                    if read_by_peer - packet.chains < 4 {
                        let message = SignalMessage::parse(&packet.bytes).unwrap();
                        let result = ours.decrypt(&message, JumpLimit(2000), &mut rng).map_err(kind);
                        let expected = if packet.read { Err(Refusal::Duplicate) } else { Ok(packet.text.clone()) };
                        assert_eq!(result, expected, "seed {seed}, step {step}");
                        read_by_ours += usize::from(!packet.read);
                        packet.read = true;
                    }
                }
                Action::Drop { to_peer: true } if !to_peer.is_empty() => {
                    to_peer.swap_remove(rng.random_range(0..to_peer.len()));
                }
                Action::Drop { to_peer: false } if !to_ours.is_empty() => {
                    to_ours.swap_remove(rng.random_range(0..to_ours.len()));
                }
                Action::Corrupt { to_peer: true } if !to_peer.is_empty() => {
                    let packet = to_peer[rng.random_range(0..to_peer.len())].clone();
                    let result = peer.try_decrypt(&corrupted(&packet.bytes, &mut rng), packet.is_prekey);
                    assert!(result.is_err(), "seed {seed}, step {step}");
                }
                Action::Corrupt { to_peer: false } if !to_ours.is_empty() => {
                    let packet = to_ours[rng.random_range(0..to_ours.len())].clone();
                    let before = ours.encode();
                    let parsed = SignalMessage::parse(&corrupted(&packet.bytes, &mut rng));
                    let result = parsed.and_then(|message| ours.decrypt(&message, JumpLimit(2000), &mut rng));
                    assert!(result.is_err(), "seed {seed}, step {step}");
                    assert_eq!(*ours.encode(), *before, "seed {seed}, step {step}: a trace is left");
                }
                Action::Store => ours = Session::decode(&ours.encode()).unwrap(),
                _ => {}
            }
        }
    }
}

#[test]
fn random_group_conversations_agree() {
    for seed in 0..seeds() {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut member = Member::new(seed);
        let (mut own, mut theirs) = (OurSenderKey::generate(&mut rng), TheirSenderKeys::default());
        member.process(&own.distribution().encode());
        theirs.process(&SenderKeyDistribution::parse(&member.distribution()).unwrap());
        let (mut to_peer, mut to_ours): (Vec<Packet>, Vec<Packet>) = (Vec::new(), Vec::new());
        for step in 0..120u32 {
            let text = step.to_be_bytes().repeat(rng.random_range(1..20));
            let packet = |bytes| Packet { text: text.clone(), bytes, is_prekey: false, read: false, chains: 0 };
            match next_action(&mut rng) {
                Action::Send { from_peer: true } => to_ours.push(packet(member.encrypt(&text))),
                Action::Send { from_peer: false } => to_peer.push(packet(own.encrypt(&text, &mut rng).unwrap())),
                Action::Deliver { to_peer: true } if !to_peer.is_empty() => {
                    let at = rng.random_range(0..to_peer.len());
                    let packet = &mut to_peer[at];
                    let expected = if packet.read { Err(Refusal::Duplicate) } else { Ok(packet.text.clone()) };
                    assert_eq!(member.try_decrypt(&packet.bytes), expected, "seed {seed}, step {step}");
                    packet.read = true;
                }
                Action::Deliver { to_peer: false } if !to_ours.is_empty() => {
                    let at = rng.random_range(0..to_ours.len());
                    let packet = &mut to_ours[at];
                    let message = SenderKeyMessage::parse(&packet.bytes).unwrap();
                    let expected = if packet.read { Err(Refusal::Duplicate) } else { Ok(packet.text.clone()) };
                    let result = theirs.decrypt(&message, JumpLimit(2000)).map_err(kind);
                    assert_eq!(result, expected, "seed {seed}, step {step}");
                    packet.read = true;
                }
                Action::Drop { to_peer: true } if !to_peer.is_empty() => {
                    to_peer.swap_remove(rng.random_range(0..to_peer.len()));
                }
                // A distribution that comes again changes nothing.
                Action::Drop { to_peer: false } => {
                    theirs.process(&SenderKeyDistribution::parse(&member.distribution()).unwrap());
                }
                Action::Corrupt { to_peer: true } if !to_peer.is_empty() => {
                    let packet = to_peer[rng.random_range(0..to_peer.len())].clone();
                    let result = member.try_decrypt(&corrupted(&packet.bytes, &mut rng));
                    assert!(result.is_err(), "seed {seed}, step {step}");
                }
                Action::Corrupt { to_peer: false } if !to_ours.is_empty() => {
                    let packet = to_ours[rng.random_range(0..to_ours.len())].clone();
                    let before = theirs.encode();
                    let parsed = SenderKeyMessage::parse(&corrupted(&packet.bytes, &mut rng));
                    let result = parsed.and_then(|message| theirs.decrypt(&message, JumpLimit(2000)));
                    assert!(result.is_err(), "seed {seed}, step {step}");
                    assert_eq!(*theirs.encode(), *before, "seed {seed}, step {step}: a trace is left");
                }
                Action::Store => {
                    own = OurSenderKey::decode(&own.encode()).unwrap();
                    theirs = TheirSenderKeys::decode(&theirs.encode()).unwrap();
                }
                _ => {}
            }
        }
        member.rotate();
        member.distribution();
        let unheard = SenderKeyMessage::parse(&member.encrypt(b"under a key that never came")).unwrap();
        let ours = theirs.decrypt(&unheard, JumpLimit(2000)).map_err(kind);
        let fresh = OurSenderKey::generate(&mut rng).encrypt(b"likewise", &mut rng).unwrap();
        assert_eq!(
            (ours, member.try_decrypt(&fresh)),
            (Err(Refusal::UnknownSenderKey), Err(Refusal::UnknownSenderKey))
        );
    }
}
