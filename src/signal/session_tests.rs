use super::*;
use crate::signal::keys::SecretKey;
use crate::signal::limits::MAX_RECEIVER_CHAINS;
use crate::signal::testing::{FixedBytes, bytes, pair, rng, vector_bytes, vectors};
use crate::signal::{PreKeyBundle, SignedPreKeyId};
use proptest::prelude::*;
use rand::rngs::StdRng;

/// Two parties, Alice holding a fresh session with Bob, and Bob's prekeys.
struct Conversation {
    rng: StdRng,
    alice: LocalParty,
    bob: LocalParty,
    bob_signed: SignedPreKeyPair,
    bob_one_time: PreKeyPair,
    at_alice: Session,
    at_bob: Session,
}

impl Conversation {
    fn begin() -> Self {
        let mut rng = rng(7);
        let party = |rng: &mut StdRng, id| LocalParty { identity: IdentityKeyPair::generate(rng), registration_id: id };
        let (alice, bob) = (party(&mut rng, 1), party(&mut rng, 2));
        let bob_signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &bob.identity, &mut rng);
        let bob_one_time = PreKeyPair::generate(PreKeyId::FIRST, &mut rng);
        let mut it = Self {
            rng,
            alice,
            bob,
            bob_signed,
            bob_one_time,
            at_alice: Session::default(),
            at_bob: Session::default(),
        };
        it.alice_initiates();
        it
    }

    fn alice_initiates(&mut self) {
        let bundle = PreKeyBundle {
            registration_id: self.bob.registration_id,
            identity: self.bob.identity.public(),
            signed_pre_key_id: self.bob_signed.id,
            signed_pre_key: *self.bob_signed.pair.public(),
            signature: self.bob_signed.signature.to_vec(),
            one_time: Some((self.bob_one_time.id, *self.bob_one_time.pair.public())),
        };
        self.at_alice.initiate(&self.alice, &bundle.verify().unwrap(), &mut self.rng).unwrap();
    }

    fn bob_receives(&mut self, sent: &Ciphertext) -> Result<Vec<u8>, SignalError> {
        match sent {
            Ciphertext::Signal(bytes) => {
                self.at_bob.decrypt(&SignalMessage::parse(bytes)?, JumpLimit::default(), &mut self.rng)
            }
            Ciphertext::PreKey(bytes) => {
                let message = PreKeySignalMessage::parse(bytes)?;
                if self.at_bob.knows(&message) {
                    return self.at_bob.decrypt_known(&message, JumpLimit::default(), &mut self.rng);
                }
                let one_time = Some(&self.bob_one_time);
                let keys = (&self.bob, &self.bob_signed);
                let (plaintext, used) =
                    self.at_bob.accept(keys.0, keys.1, one_time, &message, JumpLimit::default(), &mut self.rng)?;
                assert_eq!(used, Some(self.bob_one_time.id));
                Ok(plaintext)
            }
        }
    }

    fn alice_receives(&mut self, sent: &Ciphertext) -> Result<Vec<u8>, SignalError> {
        match sent {
            Ciphertext::Signal(bytes) => {
                self.at_alice.decrypt(&SignalMessage::parse(bytes)?, JumpLimit::default(), &mut self.rng)
            }
            Ciphertext::PreKey(_) => panic!("bob never initiates"),
        }
    }

    fn establish(&mut self) {
        let hello = self.at_alice.encrypt(b"hello").unwrap();
        assert_eq!(self.bob_receives(&hello).unwrap(), b"hello");
        let answer = self.at_bob.encrypt(b"answer").unwrap();
        assert_eq!(self.alice_receives(&answer).unwrap(), b"answer");
    }
}

#[test]
fn the_first_messages_equal_the_known_answers_with_and_without_a_one_time_prekey() {
    let v = &vectors()["double_ratchet"];
    let alice = LocalParty { identity: IdentityKeyPair(pair(&v["alice_identity_priv"])), registration_id: 12345 };
    let bob = IdentityKeyPair(pair(&v["bob_identity_priv"]));
    let signed = pair(&v["bob_signed_prekey_priv"]);
    let one_time = pair(&v["bob_one_time_prekey_priv"]);
    let (base, ratchet) = (pair(&v["alice_base_priv"]), pair(&v["alice_ratchet_priv"]));
    let bundle = |one_time| {
        let signature = bob.sign(&signed.public().typed(), &mut rng(1)).to_vec();
        PreKeyBundle {
            registration_id: 1,
            identity: bob.public(),
            signed_pre_key_id: SignedPreKeyId::FIRST,
            signed_pre_key: *signed.public(),
            signature,
            one_time,
        }
        .verify()
        .unwrap()
    };
    let with = bundle(Some((PreKeyId::new(4711).unwrap(), *one_time.public())));
    let mut session = Session::default();
    session.initiate_with(&alice, &with, &base, ratchet.clone()).unwrap();
    let first = session.encrypt(b"hello bob").unwrap();
    let second = session.encrypt(b"second").unwrap();
    let key = "prekey_signal_message (preKeyId 4711, signedPreKeyId 1, registrationId 12345)";
    assert_eq!(first, Ciphertext::PreKey(vector_bytes(&v[key])));
    assert_eq!(second, Ciphertext::PreKey(vector_bytes(&v["prekey_signal_message_1"])));

    let without = &v["without_one_time_prekey"];
    let mut session = Session::default();
    session.initiate_with(&alice, &bundle(None), &base, ratchet).unwrap();
    let only = session.encrypt(without["plaintext"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(only, Ciphertext::PreKey(vector_bytes(&without["prekey_signal_message (no preKeyId)"])));
}

#[test]
fn a_reply_and_the_second_chain_equal_the_known_answers() {
    let v = &vectors()["double_ratchet"];
    let alice = LocalParty { identity: IdentityKeyPair(pair(&v["alice_identity_priv"])), registration_id: 12345 };
    let bob = LocalParty { identity: IdentityKeyPair(pair(&v["bob_identity_priv"])), registration_id: 1 };
    let signed = SignedPreKeyPair {
        id: SignedPreKeyId::FIRST,
        pair: pair(&v["bob_signed_prekey_priv"]),
        signature: bob.identity.sign(&pair(&v["bob_signed_prekey_priv"]).public().typed(), &mut rng(1)),
    };
    let one_time = PreKeyPair { id: PreKeyId::new(4711).unwrap(), pair: pair(&v["bob_one_time_prekey_priv"]) };
    let bundle = PreKeyBundle {
        registration_id: 1,
        identity: bob.identity.public(),
        signed_pre_key_id: signed.id,
        signed_pre_key: *signed.pair.public(),
        signature: signed.signature.to_vec(),
        one_time: Some((one_time.id, *one_time.pair.public())),
    };
    let mut at_alice = Session::default();
    let (base, ratchet) = (pair(&v["alice_base_priv"]), pair(&v["alice_ratchet_priv"]));
    at_alice.initiate_with(&alice, &bundle.verify().unwrap(), &base, ratchet).unwrap();
    let Ciphertext::PreKey(first) = at_alice.encrypt(b"hello bob").unwrap() else { panic!() };
    at_alice.encrypt(b"second").unwrap();

    let mut at_bob = Session::default();
    let message = PreKeySignalMessage::parse(&first).unwrap();
    let mut bob_rng = FixedBytes(vec![vector_bytes(&v["bob_ratchet_priv"])]);
    at_bob.accept(&bob, &signed, Some(&one_time), &message, JumpLimit::default(), &mut bob_rng).unwrap();
    let reply = at_bob.encrypt(b"hello alice").unwrap();
    assert_eq!(reply, Ciphertext::Signal(vector_bytes(&v["bob_reply_0"])));

    let Ciphertext::Signal(reply) = reply else { panic!() };
    let mut alice_rng = FixedBytes(vec![vector_bytes(&v["alice_ratchet2_priv"])]);
    at_alice.decrypt(&SignalMessage::parse(&reply).unwrap(), JumpLimit::default(), &mut alice_rng).unwrap();
    let third = at_alice.encrypt(b"third").unwrap();
    let key = "alice_message_2 (plaintext \"third\", counter 0, previousCounter 1)";
    assert_eq!(third, Ciphertext::Signal(vector_bytes(&v[key])));
}

#[test]
fn messages_are_prekey_messages_until_the_peer_has_answered() {
    let mut it = Conversation::begin();
    assert!(matches!(it.at_alice.encrypt(b"1").unwrap(), Ciphertext::PreKey(_)));
    it.establish();
    assert!(matches!(it.at_alice.encrypt(b"2").unwrap(), Ciphertext::Signal(_)));
}

#[test]
fn lost_and_reordered_messages_are_decrypted_when_they_come() {
    let mut it = Conversation::begin();
    it.establish();
    let sent: Vec<_> = (0..10u8).map(|n| it.at_alice.encrypt(&[n]).unwrap()).collect();
    for n in [9, 3, 0, 7] {
        assert_eq!(it.bob_receives(&sent[n]).unwrap(), [n as u8]);
    }
}

#[test]
fn a_second_copy_is_a_duplicate() {
    let mut it = Conversation::begin();
    it.establish();
    let sent = it.at_alice.encrypt(b"once").unwrap();
    it.bob_receives(&sent).unwrap();
    assert!(matches!(it.bob_receives(&sent), Err(SignalError::Duplicate { .. })));
}

#[test]
fn a_failed_decryption_leaves_no_trace() {
    let mut it = Conversation::begin();
    it.establish();
    for _ in 0..5 {
        it.at_alice.encrypt(b"lost").unwrap();
    }
    let Ciphertext::Signal(mut bytes) = it.at_alice.encrypt(b"x").unwrap() else { panic!() };
    *bytes.last_mut().unwrap() ^= 1;
    let before = it.at_bob.encode();
    assert!(matches!(it.bob_receives(&Ciphertext::Signal(bytes)), Err(SignalError::BadMac { .. })));
    assert_eq!(*it.at_bob.encode(), *before);
}

#[test]
fn a_jump_beyond_the_limit_is_refused() {
    let mut it = Conversation::begin();
    it.establish();
    let limit = crate::signal::limits::MAX_FORWARD_JUMPS;
    let mut last = it.at_alice.encrypt(b"").unwrap();
    for _ in 0..=limit {
        last = it.at_alice.encrypt(b"").unwrap();
    }
    assert!(matches!(it.bob_receives(&last), Err(SignalError::TooFarInFuture { .. })));
}

#[test]
fn an_archived_state_still_decrypts_and_becomes_the_current_one() {
    let mut it = Conversation::begin();
    it.establish();
    let late = it.at_alice.encrypt(b"late").unwrap();
    it.bob_one_time = PreKeyPair::generate(PreKeyId::new(2).unwrap(), &mut it.rng);
    it.alice_initiates();
    let anew = it.at_alice.encrypt(b"anew").unwrap();
    it.bob_receives(&anew).unwrap();
    assert_eq!(it.at_bob.archived.len(), 1);
    assert_eq!(it.bob_receives(&late).unwrap(), b"late");
    assert_eq!(it.bob_receives(&it.at_alice.clone().encrypt(b"again").unwrap()).unwrap(), b"again");
}

#[test]
fn a_report_tells_every_state_that_was_tried_and_no_secret() {
    let mut it = Conversation::begin();
    it.establish();
    it.bob_one_time = PreKeyPair::generate(PreKeyId::new(2).unwrap(), &mut it.rng);
    it.alice_initiates();
    let anew = it.at_alice.encrypt(b"anew").unwrap();
    it.bob_receives(&anew).unwrap();
    let answer = it.at_bob.encrypt(b"answer").unwrap();
    it.alice_receives(&answer).unwrap();
    let Ciphertext::Signal(bytes) = it.at_alice.encrypt(b"x").unwrap() else { panic!() };
    let message = SignalMessage::parse(&bytes).unwrap();
    let report = it.at_bob.report(&message);
    assert_eq!((report.counter, report.states.len()), (0, 2));
    assert_eq!((report.states[0].archived, report.states[1].archived), (None, Some(0)));
    assert_eq!((report.states[0].chains.len(), report.states[0].chains[0].index), (1, 1));
    let text = report.to_string();
    assert!(text.starts_with("message 0 of chain ") && text.contains("2 states tried"), "{text}");
    let root = it.at_bob.current.as_ref().unwrap().root.key().expose();
    assert!(!text.contains(&hex::encode(&root[..4])), "{text}");
}

#[test]
fn a_used_up_one_time_prekey_is_named() {
    let mut it = Conversation::begin();
    let Ciphertext::PreKey(bytes) = it.at_alice.encrypt(b"x").unwrap() else { panic!() };
    let message = PreKeySignalMessage::parse(&bytes).unwrap();
    let result = Session::default().accept(&it.bob, &it.bob_signed, None, &message, JumpLimit::default(), &mut it.rng);
    assert_eq!(result.err(), Some(SignalError::UnknownPreKey { id: 1 }));
}

#[test]
fn a_record_survives_storing_in_the_middle_of_a_conversation() {
    let mut it = Conversation::begin();
    it.establish();
    let late = it.at_alice.encrypt(b"late").unwrap();
    let next = it.at_alice.encrypt(b"next").unwrap();
    it.bob_receives(&next).unwrap();
    it.at_bob = Session::decode(&it.at_bob.encode()).unwrap();
    assert_eq!(it.bob_receives(&late).unwrap(), b"late");
    assert!(Session::decode(&[9, 0]).is_err(), "another format version is refused");
}

#[test]
fn a_session_record_has_the_golden_form() {
    let v = &vectors()["double_ratchet"];
    let mut session = Session::default();
    let alice = LocalParty { identity: IdentityKeyPair(pair(&v["alice_identity_priv"])), registration_id: 12345 };
    let bob = IdentityKeyPair(pair(&v["bob_identity_priv"]));
    let signed = KeyPair::from_secret(SecretKey::from_bytes(bytes(&v["bob_signed_prekey_priv"])));
    let bundle = PreKeyBundle {
        registration_id: 9,
        identity: bob.public(),
        signed_pre_key_id: SignedPreKeyId::FIRST,
        signed_pre_key: *signed.public(),
        signature: bob.sign(&signed.public().typed(), &mut rng(1)).to_vec(),
        one_time: None,
    };
    let (base, ratchet) = (pair(&v["alice_base_priv"]), pair(&v["alice_ratchet_priv"]));
    session.initiate_with(&alice, &bundle.verify().unwrap(), &base, ratchet).unwrap();
    session.encrypt(b"one").unwrap();
    let stored = session.encode();
    crate::golden::check("session-v1.hex", &stored);
    assert_eq!(*Session::decode(&stored).unwrap().encode(), *stored);
}

/// What can happen in a conversation.
#[derive(Debug, Clone)]
enum Action {
    Send { from_alice: bool },
    Deliver { to_bob: bool, pick: prop::sample::Index },
    Drop { to_bob: bool, pick: prop::sample::Index },
    Duplicate { to_bob: bool, pick: prop::sample::Index },
    Store { at_bob: bool },
    Rekey,
}

fn action() -> impl Strategy<Value = Action> {
    let pick = || (any::<bool>(), any::<prop::sample::Index>());
    prop_oneof![
        4 => any::<bool>().prop_map(|from_alice| Action::Send { from_alice }),
        4 => pick().prop_map(|(to_bob, pick)| Action::Deliver { to_bob, pick }),
        1 => pick().prop_map(|(to_bob, pick)| Action::Drop { to_bob, pick }),
        1 => pick().prop_map(|(to_bob, pick)| Action::Duplicate { to_bob, pick }),
        1 => any::<bool>().prop_map(|at_bob| Action::Store { at_bob }),
        1 => Just(Action::Rekey),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is dropped, delayed or repeated: what arrives for the first time is readable, what arrives again is a
    /// duplicate. Only what is older than the five receiver chains that are kept is lost by design.
    #[test]
    fn a_conversation_survives_its_network(actions in prop::collection::vec(action(), 1..120)) {
        let mut it = Conversation::begin();
        it.establish();
        let mut next = 0u32;
        let (mut to_bob, mut to_alice) = (Vec::new(), Vec::new());
        let (mut turns_of_alice, mut turns_of_bob) = (0usize, 0usize);
        let too_old = |turns: usize, at: usize| turns - at >= MAX_RECEIVER_CHAINS - 1;
        for action in actions {
            match action {
                Action::Send { from_alice } => {
                    next += 1;
                    let text = next.to_be_bytes();
                    if from_alice {
                        to_bob.push((text, it.at_alice.encrypt(&text).unwrap(), turns_of_alice));
                    } else {
                        to_alice.push((text, it.at_bob.encrypt(&text).unwrap(), turns_of_bob));
                    }
                }
                Action::Deliver { to_bob: true, pick } if !to_bob.is_empty() => {
                    let (text, sent, at) = to_bob.remove(pick.index(to_bob.len()));
                    if !too_old(turns_of_alice, at) {
                        prop_assert_eq!(it.bob_receives(&sent).unwrap(), text);
                        turns_of_bob += 1;
                    }
                }
                Action::Deliver { to_bob: false, pick } if !to_alice.is_empty() => {
                    let (text, sent, at) = to_alice.remove(pick.index(to_alice.len()));
                    if !too_old(turns_of_bob, at) {
                        prop_assert_eq!(it.alice_receives(&sent).unwrap(), text);
                        turns_of_alice += 1;
                    }
                }
                Action::Drop { to_bob: true, pick } if !to_bob.is_empty() => {
                    to_bob.remove(pick.index(to_bob.len()));
                }
                Action::Drop { to_bob: false, pick } if !to_alice.is_empty() => {
                    to_alice.remove(pick.index(to_alice.len()));
                }
                Action::Duplicate { to_bob: true, pick } if !to_bob.is_empty() => {
                    let (text, sent, at) = to_bob.remove(pick.index(to_bob.len()));
                    if too_old(turns_of_alice, at) {
                        continue;
                    }
                    prop_assert_eq!(it.bob_receives(&sent).unwrap(), text);
                    turns_of_bob += 1;
                    let again = it.bob_receives(&sent);
                    prop_assert!(matches!(again, Err(SignalError::Duplicate { .. })), "{again:?}");
                }
                Action::Store { at_bob: true } => it.at_bob = Session::decode(&it.at_bob.encode()).unwrap(),
                Action::Store { at_bob: false } => it.at_alice = Session::decode(&it.at_alice.encode()).unwrap(),
                // A new session has chains of its own: deliver all that is under way before it begins.
                Action::Rekey => {
                    for (text, sent, at) in to_bob.drain(..) {
                        if !too_old(turns_of_alice, at) {
                            prop_assert_eq!(it.bob_receives(&sent).unwrap(), text);
                            turns_of_bob += 1;
                        }
                    }
                    let id = it.bob_one_time.id.next();
                    it.bob_one_time = PreKeyPair::generate(id, &mut it.rng);
                    it.alice_initiates();
                }
                _ => {}
            }
        }
    }
}
