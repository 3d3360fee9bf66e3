//! A session in the middle of a conversation gets hostile messages: what fails leaves no trace, and the honest message that
//! follows is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use wharf::signal::{
    Ciphertext, IdentityKeyPair, JumpLimit, LocalParty, OurSenderKey, PreKeyBundle, PreKeyId, PreKeyPair,
    PreKeySignalMessage, SenderKeyMessage, Session, SignalMessage, SignedPreKeyId, SignedPreKeyPair, TheirSenderKeys,
};

fuzz_target!(|bytes: &[u8]| {
    let mut rng = StdRng::seed_from_u64(1);
    let mut party = || LocalParty { identity: IdentityKeyPair::generate(&mut rng), registration_id: 1 };
    let (alice, bob) = (party(), party());
    let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &bob.identity, &mut rng);
    let one_time = PreKeyPair::generate(PreKeyId::FIRST, &mut rng);
    let bundle = PreKeyBundle {
        registration_id: 1,
        identity: bob.identity.public(),
        signed_pre_key_id: signed.id,
        signed_pre_key: *signed.pair.public(),
        signature: signed.signature.to_vec(),
        one_time: Some((one_time.id, *one_time.pair.public())),
    };
    let (mut at_alice, mut at_bob) = (Session::default(), Session::default());
    at_alice.initiate(&alice, &bundle.verify().unwrap(), &mut rng).unwrap();
    let Ciphertext::PreKey(hello) = at_alice.encrypt(b"hello").unwrap() else { return };
    let hello = PreKeySignalMessage::parse(&hello).unwrap();
    at_bob.accept(&bob, &signed, Some(&one_time), &hello, JumpLimit::default(), &mut rng).unwrap();

    let before = at_bob.encode();
    // Short jumps: a limit that lets a run spend its time on parsing.
    let limit = JumpLimit(50);
    if let Ok(message) = SignalMessage::parse(bytes) {
        assert!(at_bob.decrypt(&message, limit, &mut rng).is_err());
    }
    if let Ok(message) = PreKeySignalMessage::parse(bytes) {
        let one_time = Some(&one_time);
        assert!(at_bob.accept(&bob, &signed, one_time, &message, limit, &mut rng).is_err());
        assert!(at_bob.decrypt_known(&message, limit, &mut rng).is_err());
    }
    assert_eq!(*at_bob.encode(), *before);
    let Ciphertext::PreKey(next) = at_alice.encrypt(b"next").unwrap() else { return };
    let next = PreKeySignalMessage::parse(&next).unwrap();
    assert_eq!(at_bob.decrypt_known(&next, limit, &mut rng).unwrap(), b"next");

    let mut own = OurSenderKey::generate(&mut rng);
    let mut theirs = TheirSenderKeys::default();
    theirs.process(&own.distribution());
    if let Ok(message) = SenderKeyMessage::parse(bytes) {
        assert!(theirs.decrypt(&message, limit).is_err());
    }
    let honest = SenderKeyMessage::parse(&own.encrypt(b"honest", &mut rng).unwrap()).unwrap();
    assert_eq!(theirs.decrypt(&honest, limit).unwrap(), b"honest");
});
