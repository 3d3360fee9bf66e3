use super::*;
use crate::signal::testing::{FixedBytes, bytes, pair, rng, vector_bytes, vectors};

fn pair_of_ends() -> (OurSenderKey, TheirSenderKeys) {
    let ours = OurSenderKey::generate(&mut rng(1));
    let mut theirs = TheirSenderKeys::default();
    theirs.process(&ours.distribution());
    (ours, theirs)
}

fn read(theirs: &mut TheirSenderKeys, sent: &[u8]) -> Result<Vec<u8>, SignalError> {
    theirs.decrypt(&SenderKeyMessage::parse(sent)?, JumpLimit::default())
}

#[test]
fn distribution_and_messages_equal_the_known_answers_byte_for_byte() {
    let v = &vectors()["sender_key"];
    let chain_id = ChainId(v["chain_id"].as_u64().unwrap().try_into().unwrap());
    let chain = ChainKey::new(Secret::new(bytes(&v["chain_key0"])), 0);
    let mut ours = OurSenderKey::new(chain_id, chain, pair(&v["signing_priv"]));
    let distribution = vector_bytes(&v["skdm"]);
    assert_eq!(ours.distribution().encode(), distribution);
    let mut theirs = TheirSenderKeys::default();
    theirs.process(&SenderKeyDistribution::parse(&distribution).unwrap());
    for case in v["messages (plaintext \"group N\")"].as_array().unwrap() {
        let plaintext = case["plaintext"].as_str().unwrap().as_bytes();
        let (seed, _) = ours.chain.step().unwrap();
        let key = GroupMessageKey::expand(&seed);
        assert_eq!((key.iv, key.cipher), (bytes(&case["iv"]), bytes(&case["cipher_key"])));
        let mut random = FixedBytes(vec![vector_bytes(&case["sign_random64"])]);
        let message = ours.encrypt(plaintext, &mut random).unwrap();
        assert_eq!(message, vector_bytes(&case["sender_key_message"]));
        assert_eq!(read(&mut theirs, &message).unwrap(), plaintext);
    }
}

#[test]
fn messages_out_of_order_are_read_once_each() {
    let (mut ours, mut theirs) = pair_of_ends();
    let sent: Vec<_> = (0..6u8).map(|n| ours.encrypt(&[n], &mut rng(2)).unwrap()).collect();
    for n in [5, 0, 3] {
        assert_eq!(read(&mut theirs, &sent[n]).unwrap(), [n as u8]);
    }
    assert!(matches!(read(&mut theirs, &sent[3]), Err(SignalError::Duplicate { chain_index: 6, counter: 3 })));
}

#[test]
fn who_joins_late_reads_from_then_on_and_nothing_before() {
    let (mut ours, _) = pair_of_ends();
    let before = ours.encrypt(b"before", &mut rng(2)).unwrap();
    let mut late = TheirSenderKeys::default();
    late.process(&ours.distribution());
    let after = ours.encrypt(b"after", &mut rng(2)).unwrap();
    assert_eq!(read(&mut late, &after).unwrap(), b"after");
    assert!(matches!(read(&mut late, &before), Err(SignalError::Duplicate { .. })));
}

#[test]
fn an_unknown_key_is_an_error_of_its_own() {
    let (mut ours, _) = pair_of_ends();
    let sent = ours.encrypt(b"x", &mut rng(2)).unwrap();
    let chain_id = ours.chain_id().0;
    assert_eq!(read(&mut TheirSenderKeys::default(), &sent), Err(SignalError::UnknownSenderKey { chain_id }));
}

#[test]
fn a_message_signed_by_another_member_is_refused_and_leaves_no_trace() {
    let (mut ours, mut theirs) = pair_of_ends();
    let mut forger = OurSenderKey::new(ours.chain_id(), ours.chain.clone(), KeyPair::generate(&mut rng(9)));
    let forged = forger.encrypt(b"forged", &mut rng(2)).unwrap();
    let before = theirs.encode();
    assert_eq!(read(&mut theirs, &forged), Err(SignalError::BadSignature { what: "sender key message" }));
    assert_eq!(*theirs.encode(), *before);
    let honest = ours.encrypt(b"honest", &mut rng(2)).unwrap();
    assert_eq!(read(&mut theirs, &honest).unwrap(), b"honest");
}

#[test]
fn a_distribution_that_comes_twice_does_not_turn_the_chain_back() {
    let (mut ours, mut theirs) = pair_of_ends();
    let again = ours.distribution();
    let sent = ours.encrypt(b"once", &mut rng(2)).unwrap();
    read(&mut theirs, &sent).unwrap();
    theirs.process(&again);
    assert!(matches!(read(&mut theirs, &sent), Err(SignalError::Duplicate { .. })));
}

#[test]
fn five_keys_of_a_member_are_kept() {
    let mut theirs = TheirSenderKeys::default();
    let mut keys: Vec<_> = (0..6).map(|seed| OurSenderKey::generate(&mut rng(seed))).collect();
    keys.iter().for_each(|key| theirs.process(&key.distribution()));
    let sent: Vec<_> = keys.iter_mut().map(|key| key.encrypt(b"x", &mut rng(7)).unwrap()).collect();
    assert!(matches!(read(&mut theirs, &sent[0]), Err(SignalError::UnknownSenderKey { .. })));
    for message in &sent[1..] {
        assert_eq!(read(&mut theirs, message).unwrap(), b"x");
    }
}

#[test]
fn the_last_iteration_is_an_error_and_never_wraps() {
    let (mut ours, _) = pair_of_ends();
    ours.chain = ChainKey::new(Secret::new([1; 32]), u32::MAX);
    assert!(matches!(ours.encrypt(b"x", &mut rng(1)), Err(SignalError::ChainExhausted { .. })));
}

#[test]
fn a_jump_beyond_the_limit_is_refused() {
    let (mut ours, mut theirs) = pair_of_ends();
    ours.chain = ChainKey::new(ours.chain.key().clone(), JumpLimit::default().0 + 1);
    let sent = ours.encrypt(b"x", &mut rng(1)).unwrap();
    assert!(matches!(read(&mut theirs, &sent), Err(SignalError::TooFarInFuture { .. })));
}

#[test]
fn cut_off_messages_are_malformed_and_never_panic() {
    let (mut ours, _) = pair_of_ends();
    let (message, distribution) = (ours.encrypt(b"x", &mut rng(1)).unwrap(), ours.distribution().encode());
    for length in 0..message.len() {
        // A message may end earlier and still look like one; its signature then covers something else.
        if let Ok(cut) = SenderKeyMessage::parse(&message[..length]) {
            assert!(!cut.is_signed_by(&Verifier::new(ours.signing.public())));
        }
    }
    for length in 0..distribution.len() {
        assert!(SenderKeyDistribution::parse(&distribution[..length]).is_err(), "{length}");
    }
    assert_eq!(SenderKeyMessage::parse(&[0x43; 100]).err(), Some(SignalError::Version { version: 4 }));
}

#[test]
fn records_have_the_golden_form_and_are_read_back() {
    let (mut ours, mut theirs) = pair_of_ends();
    let late = ours.encrypt(b"late", &mut rng(3)).unwrap();
    let next = ours.encrypt(b"next", &mut rng(4)).unwrap();
    read(&mut theirs, &next).unwrap();
    crate::golden::check("our-sender-key-v1.hex", &ours.encode());
    crate::golden::check("their-sender-keys-v1.hex", &theirs.encode());
    let mut theirs = TheirSenderKeys::decode(&theirs.encode()).unwrap();
    assert_eq!(read(&mut theirs, &late).unwrap(), b"late");
    let mut ours = OurSenderKey::decode(&ours.encode()).unwrap();
    let more = ours.encrypt(b"more", &mut rng(5)).unwrap();
    assert_eq!(read(&mut theirs, &more).unwrap(), b"more");
    assert!(OurSenderKey::decode(&[9]).is_err() && TheirSenderKeys::decode(&[]).is_err());
}
