use super::*;
use crate::signal::limits::{MAX_ARCHIVED_KEYS, MAX_RECEIVER_CHAINS, STRAY_JUMP, UNANSWERED_SESSION_DAYS};
use crate::signal::testing::{FixedBytes, pair, rng, stranger, vector_bytes, vectors};
use crate::signal::{Part, PartChanges, PreKeyBundle, SignedPreKeyId};
use rand::rngs::StdRng;
use std::collections::BTreeMap;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    bytes: Vec<u8>,
    is_prekey: bool,
}

impl Sent {
    fn signal(&self) -> Result<SignalMessage, SignalError> {
        SignalMessage::parse(&self.bytes[..])
    }

    fn prekey(&self) -> Result<PreKeySignalMessage, SignalError> {
        PreKeySignalMessage::parse(&self.bytes)
    }
}

fn try_write(session: &mut Session, remote: &RemoteParty, now: Timestamp) -> Result<Sent, SignalError> {
    write_as(session, b"x", remote, now)
}

fn write_as(session: &mut Session, text: &[u8], remote: &RemoteParty, now: Timestamp) -> Result<Sent, SignalError> {
    let (mut rng, mut buffer, limit) = (rng(99), Buffer::new(), JumpLimit::default());
    let sealed = session.encrypt(text, Context { remote, limit, now, rng: &mut rng, buffer: &mut buffer })?;
    Ok(Sent { bytes: sealed.bytes().to_vec(), is_prekey: sealed.is_prekey() })
}

fn write(session: &mut Session, text: &[u8]) -> Sent {
    write_as(session, text, &stranger(), NOW).unwrap()
}

fn read(session: &mut Session, sent: &Sent, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignalError> {
    let (remote, mut buffer, limit) = (stranger(), Buffer::new(), JumpLimit::default());
    let ctx = Context { remote: &remote, limit, now: NOW, rng, buffer: &mut buffer };
    session.decrypt(&sent.signal()?, ctx).map(<[u8]>::to_vec)
}

/// The stored parts after each of the session's changes.
#[derive(Default)]
struct Shelf(BTreeMap<Vec<u8>, Vec<u8>>);

impl Shelf {
    fn put(&mut self, changes: PartChanges) {
        for (part, bytes) in changes {
            match bytes {
                Some(bytes) => self.0.insert(part.suffix(), bytes.to_vec()),
                None => self.0.remove(&part.suffix()),
            };
        }
    }

    fn load(&self) -> Result<Session, SignalError> {
        Session::from_parts(self.0.iter().map(|(key, bytes)| (Part::parse(key).unwrap(), bytes)))
    }
}

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

    fn bundle(&self) -> VerifiedBundle {
        let bundle = PreKeyBundle {
            registration_id: self.bob.registration_id,
            identity: self.bob.identity.public(),
            signed_pre_key_id: self.bob_signed.id,
            signed_pre_key: *self.bob_signed.pair.public(),
            signature: self.bob_signed.signature.to_vec(),
            one_time: Some((self.bob_one_time.id, *self.bob_one_time.pair.public())),
        };
        bundle.verify().unwrap()
    }

    fn alice_initiates(&mut self) {
        self.at_alice.initiate(&self.alice, &stranger(), &self.bundle(), NOW, &mut self.rng).unwrap();
    }

    fn bob_receives(&mut self, sent: &Sent) -> Result<Vec<u8>, SignalError> {
        self.bob_receives_from(&stranger(), sent)
    }

    fn bob_receives_from(&mut self, remote: &RemoteParty, sent: &Sent) -> Result<Vec<u8>, SignalError> {
        let mut buffer = Buffer::new();
        let limit = JumpLimit::default();
        let ctx = Context { remote, limit, now: NOW, rng: &mut self.rng, buffer: &mut buffer };
        if !sent.is_prekey {
            return self.at_bob.decrypt(&sent.signal()?, ctx).map(<[u8]>::to_vec);
        }
        let message = sent.prekey()?;
        if self.at_bob.knows(&message) {
            return self.at_bob.decrypt_known(&message, ctx).map(<[u8]>::to_vec);
        }
        let one_time = Some(&self.bob_one_time);
        let (plaintext, used) = self.at_bob.accept(&self.bob, &self.bob_signed, one_time, &message, ctx)?;
        assert_eq!(used, Some(self.bob_one_time.id));
        Ok(plaintext.to_vec())
    }

    fn alice_receives(&mut self, sent: &Sent) -> Result<Vec<u8>, SignalError> {
        read(&mut self.at_alice, sent, &mut self.rng)
    }

    fn establish(&mut self) {
        let hello = write(&mut self.at_alice, b"hello");
        assert_eq!(self.bob_receives(&hello).unwrap(), b"hello");
        let answer = write(&mut self.at_bob, b"answer");
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
    session.initiate_with(&alice, &stranger(), &with, NOW, (&base, ratchet.clone())).unwrap();
    let prekey = |bytes| Sent { bytes, is_prekey: true };
    let key = "prekey_signal_message (preKeyId 4711, signedPreKeyId 1, registrationId 12345)";
    assert_eq!(write(&mut session, b"hello bob"), prekey(vector_bytes(&v[key])));
    assert_eq!(write(&mut session, b"second"), prekey(vector_bytes(&v["prekey_signal_message_1"])));

    let without = &v["without_one_time_prekey"];
    let mut session = Session::default();
    session.initiate_with(&alice, &stranger(), &bundle(None), NOW, (&base, ratchet)).unwrap();
    let only = write(&mut session, without["plaintext"].as_str().unwrap().as_bytes());
    assert_eq!(only, prekey(vector_bytes(&without["prekey_signal_message (no preKeyId)"])));
}

#[test]
fn a_reply_and_the_second_chain_equal_the_known_answers() {
    let v = &vectors()["double_ratchet"];
    let mut it = Conversation::begin();
    it.alice = LocalParty { identity: IdentityKeyPair(pair(&v["alice_identity_priv"])), registration_id: 12345 };
    it.bob = LocalParty { identity: IdentityKeyPair(pair(&v["bob_identity_priv"])), registration_id: 1 };
    let signed = pair(&v["bob_signed_prekey_priv"]);
    let signature = it.bob.identity.sign(&signed.public().typed(), &mut rng(1));
    it.bob_signed = SignedPreKeyPair { id: SignedPreKeyId::FIRST, pair: signed, signature };
    it.bob_one_time = PreKeyPair { id: PreKeyId::new(4711).unwrap(), pair: pair(&v["bob_one_time_prekey_priv"]) };
    let (base, ratchet) = (pair(&v["alice_base_priv"]), pair(&v["alice_ratchet_priv"]));
    let mut at_alice = Session::default();
    at_alice.initiate_with(&it.alice, &stranger(), &it.bundle(), NOW, (&base, ratchet)).unwrap();
    let first = write(&mut at_alice, b"hello bob");
    write(&mut at_alice, b"second");

    let (mut at_bob, mut buffer) = (Session::default(), Buffer::new());
    let mut bob_rng = FixedBytes(vec![vector_bytes(&v["bob_ratchet_priv"])]);
    let (remote, limit) = (stranger(), JumpLimit::default());
    let ctx = Context { remote: &remote, limit, now: NOW, rng: &mut bob_rng, buffer: &mut buffer };
    at_bob.accept(&it.bob, &it.bob_signed, Some(&it.bob_one_time), &first.prekey().unwrap(), ctx).unwrap();
    let reply = write(&mut at_bob, b"hello alice");
    assert_eq!(reply, Sent { bytes: vector_bytes(&v["bob_reply_0"]), is_prekey: false });

    let mut alice_rng = FixedBytes(vec![vector_bytes(&v["alice_ratchet2_priv"])]);
    read(&mut at_alice, &reply, &mut alice_rng).unwrap();
    let key = "alice_message_2 (plaintext \"third\", counter 0, previousCounter 1)";
    assert_eq!(write(&mut at_alice, b"third"), Sent { bytes: vector_bytes(&v[key]), is_prekey: false });
}

#[test]
fn messages_are_prekey_messages_until_the_peer_has_answered() {
    let mut it = Conversation::begin();
    assert!(write(&mut it.at_alice, b"1").is_prekey);
    it.establish();
    assert!(!write(&mut it.at_alice, b"2").is_prekey);
}

#[test]
fn late_and_reordered_messages_are_decrypted() {
    let mut it = Conversation::begin();
    it.establish();
    let sent: Vec<_> = (0..10u8).map(|n| write(&mut it.at_alice, &[n])).collect();
    for n in [9, 3, 0, 7] {
        assert_eq!(it.bob_receives(&sent[n]).unwrap(), [n as u8]);
    }
}

#[test]
fn five_receiver_chains_are_kept() {
    let mut it = Conversation::begin();
    let mut late = Vec::new();
    for _ in 0..=MAX_RECEIVER_CHAINS {
        late.push(write(&mut it.at_alice, b"late"));
        let ping = write(&mut it.at_alice, b"ping");
        it.bob_receives(&ping).unwrap();
        let pong = write(&mut it.at_bob, b"pong");
        it.alice_receives(&pong).unwrap();
    }
    assert!(matches!(it.bob_receives(&late[0]), Err(SignalError::BadMac { .. })), "the oldest chain is gone");
    for late in &late[1..] {
        assert_eq!(it.bob_receives(late).unwrap(), b"late");
    }
}

#[test]
fn a_second_copy_is_a_duplicate() {
    let mut it = Conversation::begin();
    it.establish();
    let sent = write(&mut it.at_alice, b"once");
    it.bob_receives(&sent).unwrap();
    assert!(matches!(it.bob_receives(&sent), Err(SignalError::Duplicate { .. })));
}

#[test]
fn a_failed_decryption_changes_nothing() {
    let mut it = Conversation::begin();
    it.establish();
    (0..5).for_each(|_| drop(write(&mut it.at_alice, b"lost")));
    let mut sent = write(&mut it.at_alice, b"x");
    *sent.bytes.last_mut().unwrap() ^= 1;
    let before = it.at_bob.to_parts();
    assert!(matches!(it.bob_receives(&sent), Err(SignalError::BadMac { .. })));
    assert_eq!(it.at_bob.to_parts(), before);
}

#[test]
fn a_jump_beyond_the_limit_is_refused() {
    let mut it = Conversation::begin();
    it.establish();
    (0..=crate::signal::limits::MAX_FORWARD_JUMPS).for_each(|_| drop(write(&mut it.at_alice, b"")));
    let last = write(&mut it.at_alice, b"");
    assert!(matches!(it.bob_receives(&last), Err(SignalError::TooFarInFuture { .. })));
}

/// A conversation whose second session is under way, and a late message of the first.
fn restarted() -> (Conversation, Sent) {
    let mut it = Conversation::begin();
    it.establish();
    let late = write(&mut it.at_alice, b"late");
    it.bob_one_time = PreKeyPair::generate(PreKeyId::new(2).unwrap(), &mut it.rng);
    it.alice_initiates();
    let newer = write(&mut it.at_alice, b"after the restart");
    it.bob_receives(&newer).unwrap();
    (it, late)
}

#[test]
fn an_archived_state_still_decrypts_and_becomes_the_current_one() {
    let (mut it, late) = restarted();
    assert_eq!(it.at_bob.archived.len(), 1);
    let archived = it.at_bob.archived[0].base_key;
    assert_eq!(it.bob_receives(&late).unwrap(), b"late");
    assert_eq!(it.at_bob.current.as_ref().unwrap().base_key, archived);
    let again = write(&mut it.at_alice, b"again");
    assert_eq!(it.bob_receives(&again).unwrap(), b"again");
}

#[test]
fn a_second_copy_is_a_duplicate_in_an_archived_state_too() {
    let (mut it, late) = restarted();
    it.bob_receives(&late).unwrap();
    let newer = write(&mut it.at_alice, b"the newer state becomes the current one again");
    it.bob_receives(&newer).unwrap();
    assert!(matches!(it.bob_receives(&late), Err(SignalError::Duplicate { .. })), "and no wrong code");
}

#[test]
fn the_most_specific_error_of_several_states_is_reported() {
    let it = Conversation::begin();
    let (known, presented) = (it.alice.identity.public(), it.bob.identity.public());
    let order = [
        SignalError::UntrustedIdentity { address: stranger().address, known, presented },
        SignalError::Duplicate { chain_index: 1, counter: 0 },
        SignalError::InvalidKey { what: "peer's public key" },
        SignalError::BadMac { fingerprint: String::new() },
        SignalError::TooFarInFuture { counter: 3, jump: 2, limit: 1 },
    ];
    assert!(order.is_sorted_by(|more, less| precedence(more) > precedence(less)));
}

/// X25519 ignores the highest bit of a public key: with it set in the base key, the same message would be a new session's.
#[test]
fn a_first_message_cannot_be_read_again_under_another_spelling_of_its_base_key() {
    let mut it = Conversation::begin();
    let hello = write(&mut it.at_alice, b"hello");
    it.bob_receives(&hello).unwrap();
    let base_key = hello.prekey().unwrap().base_key;
    let place = hello.bytes.windows(32).position(|part| part == base_key.as_bytes()).unwrap();
    let mut again = hello.clone();
    again.bytes[place + 31] ^= 0x80;
    let refused = it.bob_receives(&again);
    assert_eq!(refused, Err(SignalError::InvalidKey { what: "base key of the message" }));
}

#[test]
fn an_archived_session_decrypts_and_does_not_encrypt() {
    let mut it = Conversation::begin();
    it.establish();
    let sent = write(&mut it.at_alice, b"sent before");
    it.at_bob.archive();
    assert_eq!(try_write(&mut it.at_bob, &stranger(), NOW), Err(SignalError::NoSession));
    assert_eq!(it.bob_receives(&sent).unwrap(), b"sent before");
    assert!(it.at_bob.is_usable(&stranger(), NOW));
}

#[test]
fn forty_archived_states_are_kept_and_cloning_them_copies_none() {
    let mut it = Conversation::begin();
    for _ in 0..45 {
        it.alice_initiates();
    }
    assert_eq!(it.at_alice.archived.len(), ARCHIVED_STATES_MAX_LENGTH);
    let copy = it.at_alice.clone();
    assert!(it.at_alice.archived.iter().zip(&copy.archived).all(|(ours, copied)| Arc::ptr_eq(ours, copied)));
}

#[test]
fn an_untrusted_identity_is_neither_encrypted_for_nor_decrypted() {
    let mut it = Conversation::begin();
    let known = IdentityKeyPair::generate(&mut it.rng).public();
    let remote = RemoteParty { identity: Some(known), ..stranger() };
    let untrusted = |presented: &IdentityKeyPair| SignalError::UntrustedIdentity {
        address: remote.address.clone(),
        known,
        presented: presented.public(),
    };
    let hello = write(&mut it.at_alice, b"hello");
    let (of_alice, of_bob) = (untrusted(&it.alice.identity), untrusted(&it.bob.identity));
    let bundle = it.bundle();
    assert_eq!(it.at_alice.initiate(&it.alice, &remote, &bundle, NOW, &mut it.rng), Err(of_bob.clone()));
    assert_eq!(try_write(&mut it.at_alice, &remote, NOW), Err(of_bob));
    assert!(!it.at_alice.is_usable(&remote, NOW));
    assert_eq!(it.bob_receives_from(&remote, &hello), Err(of_alice.clone()));
    it.establish();
    let sent = write(&mut it.at_alice, b"x");
    let before = it.at_bob.to_parts();
    assert_eq!(it.bob_receives_from(&remote, &sent), Err(of_alice));
    assert_eq!(it.at_bob.to_parts(), before);
    let trusted = RemoteParty { identity: Some(it.alice.identity.public()), ..stranger() };
    assert_eq!(it.bob_receives_from(&trusted, &sent).unwrap(), b"x");
}

#[test]
fn a_message_of_an_earlier_identity_is_reported_and_does_not_restore_it() {
    let mut it = Conversation::begin();
    it.establish();
    let late = write(&mut it.at_alice, b"late");
    it.alice.identity = IdentityKeyPair::generate(&mut it.rng);
    it.bob_one_time = PreKeyPair::generate(PreKeyId::new(2).unwrap(), &mut it.rng);
    it.alice_initiates();
    let hello = write(&mut it.at_alice, b"hello");
    let now_trusted = RemoteParty { identity: Some(it.alice.identity.public()), ..stranger() };
    it.bob_receives_from(&now_trusted, &hello).unwrap();
    let refused = it.bob_receives_from(&now_trusted, &late);
    assert!(matches!(refused, Err(SignalError::UntrustedIdentity { .. })), "{refused:?}");
    assert_eq!(it.at_bob.remote_identity(), Some(it.alice.identity.public()));
}

/// The service wraps what Alice wrote under her earlier identity as a PreKey message of Mallory.
#[test]
fn a_message_of_an_archived_state_is_not_read_as_another_identitys() {
    let mut it = Conversation::begin();
    let hello = write(&mut it.at_alice, b"hello");
    let held_back = write(&mut it.at_alice, b"held back");
    it.bob_receives(&hello).unwrap();
    let mallory = IdentityKeyPair::generate(&mut it.rng).public();
    let mut wrapped = held_back.prekey().unwrap();
    wrapped.identity_key = mallory;
    assert!(!it.at_bob.knows(&wrapped));
    let remote = RemoteParty { identity: Some(mallory), ..stranger() };
    let mut buffer = Buffer::new();
    let ctx = Context { remote: &remote, limit: JumpLimit::default(), now: NOW, rng: &mut it.rng, buffer: &mut buffer };
    assert_eq!(it.at_bob.decrypt_known(&wrapped, ctx), Err(SignalError::NoSession));
}

/// Bob has archived a state in which he awaits Alice's ratchet step; her end of it is returned.
fn archived_with_a_step_due() -> (Conversation, Session) {
    let mut it = Conversation::begin();
    it.establish();
    let reply = write(&mut it.at_bob, b"reply");
    it.alice_receives(&reply).unwrap();
    let earlier = it.at_alice.clone();
    it.bob_one_time = PreKeyPair::generate(PreKeyId::new(2).unwrap(), &mut it.rng);
    it.alice_initiates();
    let newer = write(&mut it.at_alice, b"newer");
    it.bob_receives(&newer).unwrap();
    (it, earlier)
}

#[test]
fn an_archived_state_takes_a_small_jump_on_a_new_ratchet_key() {
    for (lost, decrypts) in [(STRAY_JUMP, true), (STRAY_JUMP + 1, false)] {
        let (mut it, mut earlier) = archived_with_a_step_due();
        (0..lost).for_each(|_| drop(write(&mut earlier, b"lost")));
        let sent = write(&mut earlier, b"far");
        assert_eq!(it.bob_receives(&sent).is_ok(), decrypts, "{lost}");
    }
}

#[test]
fn an_archived_state_takes_every_jump_on_a_ratchet_key_that_it_holds() {
    let (mut it, mut earlier) = archived_with_a_step_due();
    let first = write(&mut earlier, b"first");
    it.bob_receives(&first).unwrap();
    let newer = write(&mut it.at_alice, b"archives that state again");
    it.bob_receives(&newer).unwrap();
    (0..=STRAY_JUMP).for_each(|_| drop(write(&mut earlier, b"lost")));
    let far = write(&mut earlier, b"far");
    assert_eq!(it.bob_receives(&far).unwrap(), b"far");
}

#[test]
fn an_archived_state_is_not_searched_for_a_peer_whose_messages_fail() {
    let (mut it, mut earlier) = archived_with_a_step_due();
    let sent = write(&mut earlier, b"late").signal().unwrap();
    let (remote, mut buffer, limit) = (stranger(), Buffer::new(), JumpLimit::default().sparing());
    let ctx = Context { remote: &remote, limit, now: NOW, rng: &mut it.rng, buffer: &mut buffer };
    assert!(matches!(it.at_bob.decrypt(&sent, ctx), Err(SignalError::BadMac { .. })));
}

/// A peer that begins a session again and again, and loses two thousand messages in each.
#[test]
fn archived_states_keep_a_bounded_number_of_skipped_keys() {
    let mut it = Conversation::begin();
    for number in 2..20 {
        (0..2000).for_each(|_| drop(write(&mut it.at_alice, b"lost")));
        let sent = write(&mut it.at_alice, b"far");
        it.bob_receives(&sent).unwrap();
        it.bob_one_time = PreKeyPair::generate(PreKeyId::new(number).unwrap(), &mut it.rng);
        it.alice_initiates();
    }
    let skipped: usize = it.at_bob.archived.iter().map(|state| state.skipped_keys()).sum();
    assert!(skipped <= MAX_ARCHIVED_KEYS && it.at_bob.archived.len() > 1, "{skipped}");
}

#[test]
fn an_unanswered_session_is_stale_after_thirty_days() {
    let mut it = Conversation::begin();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let before = NOW.plus(day * 29);
    assert!(try_write(&mut it.at_alice, &stranger(), before).is_ok());
    let then = NOW.plus(day * 31);
    assert_eq!(UNANSWERED_SESSION_DAYS, 30);
    assert_eq!(try_write(&mut it.at_alice, &stranger(), then), Err(SignalError::StaleSession { age_days: 31 }));
    assert!(!it.at_alice.is_usable(&stranger(), then));
    it.establish();
    assert!(try_write(&mut it.at_alice, &stranger(), then).is_ok(), "an answered session never goes stale");
}

/// A receiving party pays for one key agreement a ratchet step; the record of a deferred step is small and complete.
#[test]
fn a_deferred_ratchet_step_survives_storing_and_is_completed_by_the_next_send() {
    let mut it = Conversation::begin();
    let hello = write(&mut it.at_alice, b"hello");
    it.bob_receives(&hello).unwrap();
    let mut shelf = Shelf::default();
    shelf.put(it.at_bob.take_changes());
    it.at_bob = shelf.load().unwrap();
    let answer = write(&mut it.at_bob, b"answer");
    assert_eq!(it.alice_receives(&answer).unwrap(), b"answer");
}

#[test]
fn a_report_lists_every_tried_state_and_no_secret() {
    let (mut it, _) = restarted();
    let answer = write(&mut it.at_bob, b"answer");
    it.alice_receives(&answer).unwrap();
    let message = write(&mut it.at_alice, b"x").signal().unwrap();
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
fn a_consumed_one_time_prekey_is_named() {
    let mut it = Conversation::begin();
    let message = write(&mut it.at_alice, b"x").prekey().unwrap();
    let (remote, mut buffer, limit) = (stranger(), Buffer::new(), JumpLimit::default());
    let ctx = Context { remote: &remote, limit, now: NOW, rng: &mut it.rng, buffer: &mut buffer };
    let result = Session::default().accept(&it.bob, &it.bob_signed, None, &message, ctx);
    assert_eq!(result.err(), Some(SignalError::UnknownPreKey { id: 1 }));
}

#[test]
fn a_record_survives_storing_in_the_middle_of_a_conversation() {
    let (mut it, _) = restarted();
    let late = write(&mut it.at_alice, b"late");
    let next = write(&mut it.at_alice, b"next");
    it.bob_receives(&next).unwrap();
    let mut shelf = Shelf::default();
    shelf.put(it.at_bob.take_changes());
    let restored = shelf.load().unwrap();
    assert_eq!(restored.to_parts(), it.at_bob.to_parts());
    it.at_bob = restored;
    assert_eq!(it.bob_receives(&late).unwrap(), b"late");
}

#[test]
fn only_changed_parts_are_written() {
    let (mut it, _) = restarted();
    let mut shelf = Shelf::default();
    shelf.put(it.at_bob.take_changes());
    let parts =
        |changes: &PartChanges| changes.iter().map(|(part, bytes)| (*part, bytes.is_some())).collect::<Vec<_>>();
    let next = write(&mut it.at_alice, b"next");
    it.bob_receives(&next).unwrap();
    let changes = it.at_bob.take_changes();
    assert_eq!(parts(&changes), [(Part::Head, true)]);
    assert!(changes[0].1.as_ref().unwrap().len() < 1024, "{} bytes", changes[0].1.as_ref().unwrap().len());
    shelf.put(changes);

    let late: Vec<_> = (0..3).map(|_| write(&mut it.at_alice, b"late")).collect();
    let jump = write(&mut it.at_alice, b"jump");
    it.bob_receives(&jump).unwrap();
    let keys = Part::Keys { state: 1, chain: 0, block: 0 };
    let changes = it.at_bob.take_changes();
    assert_eq!(parts(&changes), [(keys, true), (Part::Head, true)]);
    shelf.put(changes);
    late.iter().for_each(|late| drop(it.bob_receives(late).unwrap()));
    let changes = it.at_bob.take_changes();
    assert_eq!(parts(&changes), [(keys, false), (Part::Head, true)], "no key is left of the block");
    shelf.put(changes);
    assert_eq!(shelf.load().unwrap().to_parts(), it.at_bob.to_parts());
}

#[test]
fn an_evicted_state_leaves_no_stored_part() {
    let mut it = Conversation::begin();
    it.establish();
    write(&mut it.at_alice, b"lost");
    let jump = write(&mut it.at_alice, b"jump");
    it.bob_receives(&jump).unwrap();
    let mut shelf = Shelf::default();
    shelf.put(it.at_bob.take_changes());
    assert_eq!(shelf.0.len(), 2, "the head and a block of keys");
    for id in 2..45 {
        it.bob_one_time = PreKeyPair::generate(PreKeyId::new(id).unwrap(), &mut it.rng);
        it.alice_initiates();
        let hello = write(&mut it.at_alice, b"hello");
        it.bob_receives(&hello).unwrap();
        shelf.put(it.at_bob.take_changes());
    }
    assert_eq!(shelf.0.len(), 1 + ARCHIVED_STATES_MAX_LENGTH);
    assert_eq!(shelf.load().unwrap().to_parts(), it.at_bob.to_parts());
}

#[test]
fn damaged_records_are_corrupt_and_never_panic() {
    let (mut it, _) = restarted();
    write(&mut it.at_alice, b"lost");
    let jump = write(&mut it.at_alice, b"jump");
    it.bob_receives(&jump).unwrap();
    let whole: Vec<(Part, Vec<u8>)> = it.at_bob.to_parts().into_iter().map(|(part, b)| (part, b.to_vec())).collect();
    assert_eq!(whole.len(), 3, "head, archived state, keys");
    let corrupt =
        |parts: Vec<(Part, Vec<u8>)>| matches!(Session::from_parts(parts), Err(SignalError::CorruptRecord { .. }));
    for missing in 0..2 {
        let mut parts = whole.clone();
        parts.remove(missing);
        assert!(corrupt(parts), "{:?} is missing", whole[missing].0);
    }
    for (at, (part, bytes)) in whole.iter().enumerate() {
        for length in 0..bytes.len() {
            let mut parts = whole.clone();
            parts[at].1.truncate(length);
            // A prefix may be a shorter valid record; it must not equal this one.
            let read = Session::from_parts(parts).map(|session| session.to_parts());
            assert!(read.is_err() || read != Ok(it.at_bob.to_parts()), "{part:?} cut to {length}");
        }
        let mut parts = whole.clone();
        parts[at].1[0] = 9;
        assert!(corrupt(parts), "another format version of {part:?}");
    }
}

/// `proto/signal.proto` is the schema of what is written by hand.
#[test]
fn session_records_are_protobufs_of_their_schema() {
    use crate::signal::proto::{SessionHead, SessionStructure};
    use prost::Message;
    let (it, _) = restarted();
    for session in [&it.at_alice, &it.at_bob] {
        let parts = session.to_parts();
        let head = SessionHead::decode(&parts[0].1[1..]).unwrap();
        assert_eq!(head.encode_to_vec(), parts[0].1[1..]);
        assert_eq!((head.archived.len(), head.next_state()), (1, 2));
        let archived = SessionStructure::decode(&parts[1].1[1..]).unwrap();
        assert_eq!(archived.encode_to_vec(), parts[1].1[1..]);
    }
}

#[test]
fn session_records_have_the_golden_form() {
    let (mut it, _) = restarted();
    write(&mut it.at_alice, b"lost");
    let jump = write(&mut it.at_alice, b"jump");
    it.bob_receives(&jump).unwrap();
    let at_bob: Vec<String> =
        it.at_bob.to_parts().iter().map(|(part, b)| format!("{part:?} {}", hex::encode(b))).collect();
    crate::golden::check_text("session-v2.txt", &at_bob.join("\n"));
    let at_alice = it.at_alice.to_parts();
    crate::golden::check("session-initiator-v2.hex", &at_alice[0].1);
}

#[test]
fn a_receive_only_session_encrypts_only_with_keys_that_no_older_copy_has() {
    for has_written in [false, true] {
        let mut it = Conversation::begin();
        it.establish();
        let message = has_written.then(|| write(&mut it.at_alice, b"before"));
        message.map(|message| it.bob_receives(&message).unwrap());
        let mut shelf = Shelf::default();
        shelf.put(it.at_alice.to_parts().into_iter().map(|(part, bytes)| (part, Some(bytes))).collect());
        let lost: Vec<_> = (0..3).map(|_| write(&mut it.at_alice, b"after the backup")).collect();
        it.at_alice = shelf.load().unwrap();
        it.at_alice.make_receive_only().unwrap();
        shelf.put(it.at_alice.take_changes());
        it.at_alice = shelf.load().unwrap();
        assert_eq!(try_write(&mut it.at_alice, &stranger(), NOW), Err(SignalError::NoSession));
        let waiting = write(&mut it.at_bob, b"readable");
        assert_eq!(it.alice_receives(&waiting).unwrap(), b"readable");
        if has_written {
            // Bob has turned the ratchet: she answers on a chain that was never used.
            let (answer, key) = (write(&mut it.at_alice, b"x"), |sent: &Sent| *sent.signal().unwrap().ratchet_key());
            assert!(lost.iter().all(|sent| key(sent) != key(&answer)));
            assert_eq!(it.bob_receives(&answer).unwrap(), b"x");
        }
        assert_eq!(it.at_alice.is_usable(&stranger(), NOW), has_written, "else only a new state can be written to");
    }
}
