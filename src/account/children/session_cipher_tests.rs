use super::migration::Migrated;
use super::*;
use crate::base::ids::AccountKey;
use crate::signal::testing::rng;
use crate::signal::{IdentityKeyPair, PreKeyBundle, SignedPreKeyId};
use crate::storage::{Changes, MemoryEngine, Overlay, Records};
use crate::wire::Jid;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A device with its prekeys, its session cipher and its store.
struct Device {
    local: LocalParty,
    signed: SignedPreKeyPair,
    one_time: PreKeyPair,
    cipher: SessionCipher,
    store: AccountStore,
    overlay: Overlay,
    seed: u64,
    turn: u64,
}

impl Device {
    fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let identity = IdentityKeyPair::generate(&mut rng);
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &identity, &mut rng);
        let one_time = PreKeyPair::generate(PreKeyId::FIRST, &mut rng);
        let local = LocalParty { identity, registration_id: 7 };
        let overlay = Overlay::default();
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let store = AccountStore::new(records, AccountKey::from_bytes([1; 16]), overlay.clone());
        let cipher = SessionCipher::new(store.clone(), local.clone(), rng);
        Self { local, signed, one_time, cipher, store, overlay, seed, turn: 0 }
    }

    fn commit(&mut self) {
        let writes = self.cipher.take_writes();
        let mut changes = Changes::default();
        changes.absorb(writes);
        self.turn += 1;
        self.overlay.pin(self.turn, &changes);
    }

    /// Reloads everything from the store.
    fn restart(&mut self) {
        self.cipher = SessionCipher::new(self.store.clone(), self.local.clone(), rng(1000 * self.seed + self.turn));
    }

    fn bundle(&self) -> VerifiedBundle {
        let bundle = PreKeyBundle {
            registration_id: 7,
            identity: self.local.identity.public(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public(),
            signature: self.signed.signature.to_vec(),
            one_time: Some((self.one_time.id, *self.one_time.pair.public())),
        };
        bundle.verify().unwrap()
    }

    fn establish(&mut self, with: &Device) -> Established {
        let done = self.cipher.establish(vec![(peer(), with.bundle())], NOW).unwrap();
        self.commit();
        done
    }

    fn encrypt(&mut self, text: &[u8]) -> Ciphertext {
        self.encrypt_for(&peer(), text)
    }

    fn encrypt_for(&mut self, to: &ProtocolAddress, text: &[u8]) -> Ciphertext {
        let mut ciphertext = self.cipher.encrypt(vec![(to.clone(), text.to_vec())], NOW).unwrap();
        self.commit();
        let Encrypted { kind, bytes } = ciphertext.remove(0).unwrap();
        match kind {
            "msg" => Ciphertext::Signal(SignalMessage::parse(bytes).unwrap()),
            _ => Ciphertext::PreKey(Box::new(PreKeySignalMessage::parse(&bytes).unwrap())),
        }
    }

    fn decrypt(&mut self, ciphertext: &Ciphertext) -> Result<(Vec<u8>, bool), SignalError> {
        self.decrypt_from(&peer(), ciphertext)
    }

    fn has_session(&self, address: &ProtocolAddress) -> bool {
        !self.store.scan(kind::SESSION, &part_key(address, &[])).unwrap().is_empty()
    }

    fn migrate(&mut self) -> Migrated {
        let migrated = self.cipher.migrate(&Jid::pn("15550002222"), &lid()).unwrap();
        self.commit();
        migrated
    }

    fn decrypt_from(
        &mut self,
        from: &ProtocolAddress,
        ciphertext: &Ciphertext,
    ) -> Result<(Vec<u8>, bool), SignalError> {
        let needed = self.cipher.needs_prekeys(from, ciphertext).unwrap();
        let prekeys = needed.then(|| (self.signed.clone(), Some(self.one_time.clone())));
        let context = DecryptContext { prekeys, limit: JumpLimit::default(), now: NOW };
        let decrypted = self.cipher.decrypt(from, ciphertext, &context).unwrap()?;
        self.commit();
        Ok((decrypted.plaintext, decrypted.identity_changed))
    }
}

fn peer() -> ProtocolAddress {
    Jid::pn("15550002222").protocol_address()
}

fn lid() -> Jid {
    Jid::new("77", crate::wire::Server::Lid)
}

#[test]
fn session_migrates_from_phone_number_to_lid_with_its_skipped_keys() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.establish(&bob);
    let late = alice.encrypt(b"late");
    let sent = alice.encrypt(b"first");
    bob.decrypt(&sent).unwrap();
    let identity = bob.cipher.identity(&peer()).unwrap();
    assert_eq!(bob.migrate(), Migrated { sessions: 1, differs: false });
    bob.restart();
    assert!(!bob.has_session(&peer()));
    assert_eq!(bob.cipher.identity(&peer()).unwrap(), None);
    assert_eq!(bob.cipher.identity(&lid().protocol_address()).unwrap(), identity);
    assert_eq!(bob.decrypt_from(&lid().protocol_address(), &late), Ok((b"late".to_vec(), false)));
    let answer = bob.encrypt_for(&lid().protocol_address(), b"answer");
    assert_eq!(alice.decrypt(&answer), Ok((b"answer".to_vec(), false)));
    assert_eq!(bob.migrate(), Migrated::default(), "no session is left to migrate");
}

#[test]
fn session_under_the_lid_takes_precedence_over_one_under_the_phone_number() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.establish(&bob);
    let sent = alice.encrypt(b"by phone number");
    bob.decrypt(&sent).unwrap();
    let mut reinstalled = Device::new(3);
    bob.one_time = PreKeyPair::generate(PreKeyId::new(2).unwrap(), &mut rng(4));
    reinstalled.establish(&bob);
    let sent = reinstalled.encrypt(b"by lid");
    bob.decrypt_from(&lid().protocol_address(), &sent).unwrap();
    assert_eq!(bob.migrate(), Migrated { sessions: 0, differs: true });
    bob.restart();
    assert!(!bob.has_session(&peer()));
    let more = reinstalled.encrypt(b"more");
    assert_eq!(bob.decrypt_from(&lid().protocol_address(), &more), Ok((b"more".to_vec(), false)));
    let identity = bob.cipher.identity(&lid().protocol_address()).unwrap();
    assert_eq!(identity, Some(reinstalled.local.identity.public()));
}

#[test]
fn identity_without_a_session_migrates_by_itself() {
    let mut bob = Device::new(2);
    let moved = bob.cipher.migrate(&Jid::pn("15550002222"), &lid()).unwrap();
    assert_eq!((moved.sessions, bob.cipher.take_writes().is_empty()), (0, true), "a read-only check writes nothing");
    let known = Device::new(3).local.identity.public();
    bob.cipher.trust(&peer(), known).unwrap();
    bob.commit();
    assert_eq!(bob.migrate(), Migrated::default());
    bob.restart();
    assert_eq!(bob.cipher.identity(&lid().protocol_address()).unwrap(), Some(known));
}

#[test]
fn session_does_not_follow_a_mapping_to_another_identity() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.establish(&bob);
    let sent = alice.encrypt(b"by phone number");
    bob.decrypt(&sent).unwrap();
    let stranger = Device::new(3).local.identity.public();
    bob.cipher.trust(&lid().protocol_address(), stranger).unwrap();
    bob.commit();
    assert_eq!(bob.migrate(), Migrated { sessions: 0, differs: true });
    bob.restart();
    assert!(!bob.has_session(&lid().protocol_address()));
    assert_eq!(bob.cipher.identity(&lid().protocol_address()).unwrap(), Some(stranger));
}

#[test]
fn conversation_continues_after_every_restart() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.establish(&bob);
    let mut late = Vec::new();
    for round in 0..5u8 {
        late.push(alice.encrypt(&[100, round]));
        let sent = alice.encrypt(&[round]);
        alice.restart();
        assert_eq!(bob.decrypt(&sent), Ok((vec![round], false)));
        bob.restart();
        let answer = bob.encrypt(b"answer");
        assert_eq!(alice.decrypt(&answer), Ok((b"answer".to_vec(), false)));
    }
    let newest = late.pop().unwrap();
    assert_eq!(bob.decrypt(&newest), Ok((vec![100, 4], false)), "a skipped key was stored");
}

#[test]
fn conversation_continues_after_every_rest_and_rest_leaves_no_session_in_memory() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.establish(&bob);
    for round in 0..10u8 {
        let (there, back) = (alice.encrypt(&[round]), alice.encrypt(&[round, round]));
        alice.cipher.rest();
        bob.decrypt(&back).unwrap();
        bob.cipher.rest();
        assert_eq!(bob.decrypt(&there), Ok((vec![round], false)));
        let answer = bob.encrypt(&[round]);
        alice.decrypt(&answer).unwrap();
        bob.cipher.rest();
    }
    assert!(bob.cipher.sessions.is_empty() && bob.cipher.identities.is_empty());
}

#[test]
fn identity_changed_in_a_bundle_is_trusted_and_reported() {
    let (mut alice, bob) = (Device::new(1), Device::new(2));
    assert!(alice.establish(&bob).changed.is_empty(), "the first is trusted");
    let reinstalled = Device::new(3);
    let done = alice.establish(&reinstalled);
    assert_eq!((done.changed, done.refused.len()), (vec![peer()], 0));
    alice.restart();
    assert_eq!(alice.cipher.identity(&peer()).unwrap(), Some(reinstalled.local.identity.public()));
    assert!(alice.cipher.missing(vec![peer()], NOW).unwrap().is_empty());
}

#[test]
fn identity_changed_in_a_message_is_trusted_once_it_decrypts() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    bob.establish(&alice);
    let hello = bob.encrypt(b"hello");
    assert_eq!(alice.decrypt(&hello), Ok((b"hello".to_vec(), false)));
    let answer = alice.encrypt(b"answer");
    bob.decrypt(&answer).unwrap();
    let late = bob.encrypt(b"late");

    let mut reinstalled = Device::new(3);
    alice.one_time = PreKeyPair::generate(PreKeyId::new(2).unwrap(), &mut rng(4));
    reinstalled.establish(&alice);
    let mut hello = reinstalled.encrypt(b"it is me, with a new phone");
    let Ciphertext::PreKey(message) = &mut hello else { panic!("the session is new") };
    let honest = message.identity_key;
    message.identity_key = Device::new(5).local.identity.public();
    assert!(alice.decrypt(&hello).is_err(), "a claimed identity that does not decrypt changes nothing");
    assert_eq!(alice.cipher.identity(&peer()).unwrap(), Some(bob.local.identity.public()));

    let Ciphertext::PreKey(message) = &mut hello else { panic!("the session is new") };
    message.identity_key = honest;
    assert_eq!(alice.decrypt(&hello), Ok((b"it is me, with a new phone".to_vec(), true)));
    alice.restart();
    assert_eq!(alice.cipher.identity(&peer()).unwrap(), Some(reinstalled.local.identity.public()));
    let refused = alice.decrypt(&late);
    assert!(matches!(refused, Err(SignalError::UntrustedIdentity { .. })), "{refused:?}");
}

#[test]
fn session_with_a_replaced_identity_counts_as_missing() {
    let (mut alice, bob) = (Device::new(1), Device::new(2));
    alice.establish(&bob);
    let other = Device::new(3).local.identity.public();
    alice.cipher.trust(&peer(), other).unwrap();
    alice.commit();
    assert_eq!(alice.cipher.missing(vec![peer()], NOW).unwrap(), [peer()]);
    let ciphertext = alice.cipher.encrypt(vec![(peer(), b"x".to_vec())], NOW).unwrap();
    assert!(matches!(ciphertext[0], Err(SignalError::UntrustedIdentity { .. })));
}

#[test]
fn no_row_names_a_forgotten_phone_number() {
    let (mut alice, bob) = (Device::new(1), Device::new(2));
    let user = Jid::pn("15550002222");
    alice.cipher.trust(&user.protocol_address(), bob.local.identity.public()).unwrap();
    alice.commit();
    let stored = |alice: &Device| alice.store.get(kind::PN_PEER, user.user().as_bytes()).unwrap();
    assert_eq!(stored(&alice), Some(vec![1]));
    alice.cipher.forget_users(std::slice::from_ref(&user)).unwrap();
    alice.commit();
    assert_eq!(stored(&alice), None);
}

#[test]
fn no_record_of_a_session_is_larger_than_a_row_of_the_store() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.establish(&bob);
    (0..3000).for_each(|_| drop(alice.encrypt(b"lost")));
    let sent = alice.encrypt(b"far ahead");
    bob.decrypt(&sent).unwrap();
    let rows = bob.store.scan(kind::SESSION, b"").unwrap();
    assert!(rows.len() > 30, "2,000 keys in blocks: {}", rows.len());
    let longest = rows.iter().map(|(_, value)| value.len()).max().unwrap();
    assert!(longest < 4096, "{longest}");
}
