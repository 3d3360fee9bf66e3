//! One conversation with `wacore-libsignal` in each role, with turns of the ratchet and messages out of order.

use crate::libsignal::Peer;
use rand::SeedableRng;
use rand::rngs::StdRng;
use wharf::signal::{
    Ciphertext, IdentityKeyPair, JumpLimit, LocalParty, PreKeyId, PreKeyPair, PreKeySignalMessage, Session,
    SignalMessage, SignedPreKeyId, SignedPreKeyPair,
};

fn party(rng: &mut StdRng) -> LocalParty {
    LocalParty { identity: IdentityKeyPair::generate(rng), registration_id: 5 }
}

fn parts(sent: Ciphertext) -> (Vec<u8>, bool) {
    match sent {
        Ciphertext::Signal(bytes) => (bytes, false),
        Ciphertext::PreKey(bytes) => (bytes, true),
    }
}

/// Ten rounds: three messages from the peer, two of them swapped, then one from us.
fn talk(ours: &mut Session, peer: &mut Peer, rng: &mut StdRng) {
    for round in 0..10u8 {
        let sent: Vec<_> = (0..3u8).map(|n| peer.encrypt(&[round, n])).collect();
        for n in [2, 0, 1u8] {
            let (bytes, is_prekey) = &sent[usize::from(n)];
            assert!(!is_prekey, "the session is confirmed");
            let opened = ours.decrypt(&SignalMessage::parse(bytes).unwrap(), JumpLimit::default(), rng).unwrap();
            assert_eq!(opened, [round, n]);
        }
        let (bytes, is_prekey) = parts(ours.encrypt(&[round]).unwrap());
        assert_eq!(peer.decrypt(&bytes, is_prekey), [round]);
    }
}

#[test]
fn wharf_initiates_and_the_peer_answers() {
    let mut rng = StdRng::seed_from_u64(1);
    let (local, mut peer) = (party(&mut rng), Peer::new(2));
    let mut session = Session::default();
    session.initiate(&local, &peer.bundle().verify().unwrap(), &mut rng).unwrap();
    for text in [b"first", b"again"] {
        let (bytes, is_prekey) = parts(session.encrypt(text).unwrap());
        assert!(is_prekey);
        assert_eq!(peer.decrypt(&bytes, true), text);
    }
    let (bytes, _) = peer.encrypt(b"answer");
    assert_eq!(
        session.decrypt(&SignalMessage::parse(&bytes).unwrap(), JumpLimit::default(), &mut rng).unwrap(),
        b"answer"
    );
    talk(&mut session, &mut peer, &mut rng);
}

#[test]
fn the_peer_initiates_and_wharf_answers_with_and_without_a_one_time_prekey() {
    for with_one_time in [true, false] {
        let mut rng = StdRng::seed_from_u64(3);
        let (local, mut peer) = (party(&mut rng), Peer::new(4));
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &local.identity, &mut rng);
        let one_time = with_one_time.then(|| PreKeyPair::generate(PreKeyId::FIRST, &mut rng));
        let one_time_key = one_time.as_ref().map(|key| key.pair.public().typed());
        peer.initiate(
            local.registration_id,
            &local.identity.public().0.typed(),
            (1, &signed.pair.public().typed(), &signed.signature),
            one_time_key.as_ref().map(|key| (1, &key[..])),
        );
        let (bytes, is_prekey) = peer.encrypt(b"hello");
        assert!(is_prekey);
        let message = PreKeySignalMessage::parse(&bytes).unwrap();
        let mut session = Session::default();
        let (opened, used) =
            session.accept(&local, &signed, one_time.as_ref(), &message, JumpLimit::default(), &mut rng).unwrap();
        assert_eq!((opened.as_slice(), used), (b"hello".as_slice(), one_time.map(|key| key.id)));
        let (bytes, is_prekey) = parts(session.encrypt(b"answer").unwrap());
        assert_eq!(peer.decrypt(&bytes, is_prekey), b"answer");
        talk(&mut session, &mut peer, &mut rng);
    }
}
