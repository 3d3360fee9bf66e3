use super::*;
use crate::signal::testing::{FixedBytes, bytes, pair, rng, vector_bytes, vectors};

fn pair_of_ends() -> (OurSenderKey, TheirSenderKeys) {
    let ours = OurSenderKey::generate(&mut rng(1));
    let mut theirs = TheirSenderKeys::default();
    theirs.process(&ours.distribution());
    (ours, theirs)
}

fn read(theirs: &mut TheirSenderKeys, sent: &[u8]) -> Result<Vec<u8>, SignalError> {
    let mut buffer = Buffer::new();
    theirs.decrypt(&SenderKeyMessage::parse(sent)?, JumpLimit::default(), &mut buffer).map(<[u8]>::to_vec)
}

fn write(ours: &mut OurSenderKey, text: &[u8], seed: u64) -> Vec<u8> {
    ours.encrypt(text, &mut rng(seed), &mut Buffer::new()).unwrap().to_vec()
}

#[test]
fn distribution_and_messages_equal_the_known_answers_byte_for_byte() {
    let v = &vectors()["sender_key"];
    let chain_id = ChainId(v["chain_id"].as_u64().unwrap().try_into().unwrap());
    let chain = ChainKey::sender(Secret::new(bytes(&v["chain_key0"])), 0);
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
        let (mut buffer, mut random) = (Buffer::new(), FixedBytes(vec![vector_bytes(&case["sign_random64"])]));
        let message = ours.encrypt(plaintext, &mut random, &mut buffer).unwrap().to_vec();
        assert_eq!(message, vector_bytes(&case["sender_key_message"]));
        assert_eq!(read(&mut theirs, &message).unwrap(), plaintext);
    }
}

#[test]
fn out_of_order_messages_are_decrypted_once_each() {
    let (mut ours, mut theirs) = pair_of_ends();
    let sent: Vec<_> = (0..6u8).map(|n| write(&mut ours, &[n], 2)).collect();
    for n in [5, 0, 3] {
        assert_eq!(read(&mut theirs, &sent[n]).unwrap(), [n as u8]);
    }
    assert!(matches!(read(&mut theirs, &sent[3]), Err(SignalError::Duplicate { chain_index: 6, counter: 3 })));
}

#[test]
fn a_late_distribution_decrypts_later_messages_only() {
    let (mut ours, _) = pair_of_ends();
    let before = write(&mut ours, b"before", 2);
    let mut late = TheirSenderKeys::default();
    late.process(&ours.distribution());
    let after = write(&mut ours, b"after", 2);
    assert_eq!(read(&mut late, &after).unwrap(), b"after");
    assert!(matches!(read(&mut late, &before), Err(SignalError::Duplicate { .. })));
}

#[test]
fn an_unknown_sender_key_has_a_separate_error() {
    let (mut ours, _) = pair_of_ends();
    let sent = write(&mut ours, b"x", 2);
    let chain_id = ours.chain_id().0;
    assert_eq!(read(&mut TheirSenderKeys::default(), &sent), Err(SignalError::UnknownSenderKey { chain_id }));
}

#[test]
fn a_message_signed_by_another_member_is_refused_and_changes_nothing() {
    let (mut ours, mut theirs) = pair_of_ends();
    let mut forger = OurSenderKey::new(ours.chain_id(), ours.chain.clone(), KeyPair::generate(&mut rng(9)));
    let forged = write(&mut forger, b"forged", 2);
    let before = theirs.to_parts();
    assert_eq!(read(&mut theirs, &forged), Err(SignalError::BadSignature { what: "sender key message" }));
    assert_eq!(theirs.to_parts(), before);
    let honest = write(&mut ours, b"honest", 2);
    assert_eq!(read(&mut theirs, &honest).unwrap(), b"honest");
}

#[test]
fn a_repeated_distribution_does_not_rewind_the_chain() {
    let (mut ours, mut theirs) = pair_of_ends();
    let again = ours.distribution();
    let sent = write(&mut ours, b"once", 2);
    read(&mut theirs, &sent).unwrap();
    theirs.process(&again);
    assert!(matches!(read(&mut theirs, &sent), Err(SignalError::Duplicate { .. })));
}

#[test]
fn a_key_counts_its_messages_from_the_first() {
    let (mut ours, _) = pair_of_ends();
    assert_eq!(ours.iteration(), 0);
    (0..3).for_each(|seed| drop(write(&mut ours, b"x", seed)));
    assert_eq!((ours.iteration(), ours.distribution().iteration), (3, 3));
}

#[test]
fn a_key_with_the_same_id_and_another_signer_replaces_the_first() {
    let (mut ours, mut theirs) = pair_of_ends();
    let mut other = OurSenderKey::new(ours.chain_id(), ours.chain.clone(), KeyPair::generate(&mut rng(9)));
    theirs.process(&other.distribution());
    let (of_the_first, of_the_other) = (write(&mut ours, b"first", 2), write(&mut other, b"other", 3));
    assert_eq!(read(&mut theirs, &of_the_first), Err(SignalError::BadSignature { what: "sender key message" }));
    assert_eq!(read(&mut theirs, &of_the_other).unwrap(), b"other");
}

#[test]
fn five_keys_of_a_member_are_kept() {
    let mut theirs = TheirSenderKeys::default();
    let mut keys: Vec<_> = (0..6).map(|seed| OurSenderKey::generate(&mut rng(seed))).collect();
    keys.iter().for_each(|key| theirs.process(&key.distribution()));
    let sent: Vec<_> = keys.iter_mut().map(|key| write(key, b"x", 7)).collect();
    assert!(matches!(read(&mut theirs, &sent[0]), Err(SignalError::UnknownSenderKey { .. })));
    for message in &sent[1..] {
        assert_eq!(read(&mut theirs, message).unwrap(), b"x");
    }
}

#[test]
fn the_last_iteration_is_an_error_and_never_wraps() {
    let (mut ours, _) = pair_of_ends();
    ours.chain = ChainKey::sender(Secret::new([1; 32]), u32::MAX);
    assert!(matches!(ours.encrypt(b"x", &mut rng(1), &mut Buffer::new()), Err(SignalError::ChainExhausted { .. })));
}

#[test]
fn a_jump_beyond_the_limit_is_refused() {
    let (mut ours, mut theirs) = pair_of_ends();
    ours.chain = ChainKey::sender(ours.chain.key().clone(), JumpLimit::default().ahead + 1);
    let sent = write(&mut ours, b"x", 1);
    assert!(matches!(read(&mut theirs, &sent), Err(SignalError::TooFarInFuture { .. })));
}

#[test]
fn truncated_messages_are_malformed_and_never_panic() {
    let (mut ours, _) = pair_of_ends();
    let (message, distribution) = (write(&mut ours, b"x", 1), ours.distribution().encode());
    for length in 0..message.len() {
        // A message may end earlier and still look like one; its signature then covers something else.
        if let Ok(cut) = SenderKeyMessage::parse(&message[..length]) {
            assert!(!cut.is_signed_by(&Verifier::new(ours.signing.public())));
        }
    }
    for length in 0..distribution.len() {
        assert!(SenderKeyDistribution::parse(&distribution[..length]).is_err(), "{length}");
    }
    assert_eq!(SenderKeyMessage::parse([0x43; 100]).err(), Some(SignalError::Version { version: 4 }));
}

#[test]
fn records_have_the_golden_form_and_are_read_back() {
    let (mut ours, mut theirs) = pair_of_ends();
    let late = write(&mut ours, b"late", 3);
    let next = write(&mut ours, b"next", 4);
    read(&mut theirs, &next).unwrap();
    crate::golden::check("our-sender-key-v2.hex", &ours.encode());
    let parts = theirs.to_parts();
    let lines: Vec<_> = parts.iter().map(|(part, bytes)| format!("{part:?} {}", hex::encode(bytes))).collect();
    crate::golden::check_text("their-sender-keys-v2.txt", &lines.join("\n"));
    let mut theirs = TheirSenderKeys::from_parts(parts).unwrap();
    assert_eq!(read(&mut theirs, &late).unwrap(), b"late");
    let mut ours = OurSenderKey::decode(&ours.encode()).unwrap();
    let more = write(&mut ours, b"more", 5);
    assert_eq!(read(&mut theirs, &more).unwrap(), b"more");
    assert!(OurSenderKey::decode(&[9]).is_err());
    assert!(TheirSenderKeys::from_parts([(Part::Head, [9])]).is_err());
}

#[test]
fn only_changed_parts_are_written_and_an_evicted_key_leaves_none() {
    let (mut ours, mut theirs) = pair_of_ends();
    let mut shelf = std::collections::BTreeMap::new();
    let mut store = |theirs: &mut TheirSenderKeys| {
        let changes = theirs.take_changes();
        let parts: Vec<_> = changes.iter().map(|(part, bytes)| (*part, bytes.is_some())).collect();
        for (part, bytes) in changes {
            match bytes {
                Some(bytes) => shelf.insert(part, bytes),
                None => shelf.remove(&part),
            };
        }
        assert_eq!(TheirSenderKeys::from_parts(shelf.clone()).unwrap().to_parts(), theirs.to_parts());
        parts
    };
    let first = write(&mut ours, b"first", 1);
    read(&mut theirs, &first).unwrap();
    assert_eq!(store(&mut theirs), [(Part::Head, true)]);
    (0..100).for_each(|seed| drop(write(&mut ours, b"lost", seed)));
    let next = write(&mut ours, b"next", 3);
    read(&mut theirs, &next).unwrap();
    let keys = [0, 1].map(|block| Part::Keys { state: ours.chain_id().0, chain: 0, block });
    assert_eq!(store(&mut theirs), [(keys[0], true), (keys[1], true), (Part::Head, true)]);
    (10..15).for_each(|seed| theirs.process(&OurSenderKey::generate(&mut rng(seed)).distribution()));
    assert_eq!(store(&mut theirs), [(keys[0], false), (keys[1], false), (Part::Head, true)]);
}
