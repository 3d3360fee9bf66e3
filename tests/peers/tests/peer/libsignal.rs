//! One device that uses `wacore-libsignal`, with stores in memory.

#[path = "../../../shared/conversation.rs"]
pub mod conversation;

use async_trait::async_trait;
use conversation::{End, Offer, Refusal, Sent};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::HashMap;
use wacore_libsignal::protocol::error::Result;
use wacore_libsignal::protocol::{
    CiphertextMessage, Direction, GenericSignedPreKey, IdentityChange, IdentityKey, IdentityKeyPair, IdentityKeyStore,
    KeyPair, PreKeyBundle, PreKeyId, PreKeyRecord, PreKeySignalMessage, PreKeyStore, ProtocolAddress, PublicKey,
    SenderKeyDistributionMessage, SenderKeyName, SenderKeyRecord, SenderKeyStore, SessionRecord, SessionStore,
    SignalMessage, SignalProtocolError, SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore, Timestamp, UsePQRatchet,
    create_sender_key_distribution_message, group_decrypt, group_encrypt, message_decrypt, message_encrypt,
    process_prekey_bundle, process_sender_key_distribution_message,
};

pub const PRE_KEY_ID: u32 = 31;
pub const SIGNED_PRE_KEY_ID: u32 = 7;

#[derive(Clone)]
struct Identity {
    pair: IdentityKeyPair,
    registration_id: u32,
    known: HashMap<ProtocolAddress, IdentityKey>,
}

#[async_trait]
impl IdentityKeyStore for Identity {
    async fn get_identity_key_pair(&self) -> Result<IdentityKeyPair> {
        Ok(self.pair.clone())
    }
    async fn get_local_registration_id(&self) -> Result<u32> {
        Ok(self.registration_id)
    }
    async fn save_identity(&mut self, address: &ProtocolAddress, identity: &IdentityKey) -> Result<IdentityChange> {
        let old = self.known.insert(address.clone(), *identity);
        Ok(IdentityChange::from_changed(old.is_some_and(|old| old != *identity)))
    }
    async fn is_trusted_identity(&self, _: &ProtocolAddress, _: &IdentityKey, _: Direction) -> Result<bool> {
        Ok(true)
    }
    async fn get_identity(&self, address: &ProtocolAddress) -> Result<Option<IdentityKey>> {
        Ok(self.known.get(address).copied())
    }
}

#[derive(Clone, Default)]
struct Sessions(HashMap<ProtocolAddress, SessionRecord>);

#[async_trait]
impl SessionStore for Sessions {
    async fn load_session(&self, address: &ProtocolAddress) -> Result<Option<SessionRecord>> {
        Ok(self.0.get(address).cloned())
    }
    async fn has_session(&self, address: &ProtocolAddress) -> Result<bool> {
        Ok(self.0.contains_key(address))
    }
    async fn store_session(&mut self, address: &ProtocolAddress, record: SessionRecord) -> Result<()> {
        self.0.insert(address.clone(), record);
        Ok(())
    }
}

#[derive(Clone)]
struct PreKeys(HashMap<PreKeyId, PreKeyRecord>);

#[async_trait]
impl PreKeyStore for PreKeys {
    async fn get_pre_key(&self, id: PreKeyId) -> Result<PreKeyRecord> {
        self.0.get(&id).cloned().ok_or(SignalProtocolError::InvalidPreKeyId)
    }
    async fn save_pre_key(&mut self, id: PreKeyId, record: &PreKeyRecord) -> Result<()> {
        self.0.insert(id, record.clone());
        Ok(())
    }
    async fn remove_pre_key(&mut self, id: PreKeyId) -> Result<()> {
        self.0.remove(&id);
        Ok(())
    }
}

struct SignedPreKeys(SignedPreKeyRecord);

#[async_trait]
impl SignedPreKeyStore for SignedPreKeys {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Result<SignedPreKeyRecord> {
        if id != SIGNED_PRE_KEY_ID.into() {
            return Err(SignalProtocolError::InvalidSignedPreKeyId);
        }
        Ok(self.0.clone())
    }
    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, record: &SignedPreKeyRecord) -> Result<()> {
        self.0 = record.clone();
        Ok(())
    }
}

/// The peer: its keys, and one session with Wharf.
pub struct Peer {
    rng: StdRng,
    wharf: ProtocolAddress,
    identity: Identity,
    sessions: Sessions,
    pre_keys: PreKeys,
    signed: SignedPreKeys,
    next_pre_key: u32,
    then: Option<(Sessions, PreKeys)>,
    pub one_time: KeyPair,
    pub signed_pair: KeyPair,
    pub signature: Vec<u8>,
}

impl Peer {
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let pair = IdentityKeyPair::generate(&mut rng);
        let (one_time, signed_pair) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
        let public = signed_pair.public_key.serialize();
        let signature = pair.private_key().calculate_signature(&public, &mut rng).unwrap().to_vec();
        let record = SignedPreKeyRecord::new(
            SIGNED_PRE_KEY_ID.into(),
            Timestamp::from_epoch_millis(1),
            &signed_pair,
            &signature,
        );
        let pre_key = PreKeyRecord::new(PRE_KEY_ID.into(), &one_time);
        Self {
            rng,
            wharf: ProtocolAddress::new("wharf", 1.into()),
            identity: Identity { pair, registration_id: 77, known: HashMap::new() },
            sessions: Sessions::default(),
            pre_keys: PreKeys(HashMap::from([(PRE_KEY_ID.into(), pre_key)])),
            signed: SignedPreKeys(record),
            next_pre_key: PRE_KEY_ID + 1,
            then: None,
            one_time,
            signed_pair,
            signature,
        }
    }

    /// The peer's bundle as a service hands it out, in Wharf's type.
    pub fn bundle(&self) -> wharf::signal::PreKeyBundle {
        let key = |bytes: &[u8]| wharf::signal::PublicKey::parse(bytes, "key").unwrap();
        wharf::signal::PreKeyBundle {
            registration_id: 77,
            identity: wharf::signal::IdentityKey(key(&self.identity_key())),
            signed_pre_key_id: wharf::signal::SignedPreKeyId::new(SIGNED_PRE_KEY_ID).unwrap(),
            signed_pre_key: key(&self.signed_pair.public_key.serialize()),
            signature: self.signature.clone(),
            one_time: Some((
                wharf::signal::PreKeyId::new(PRE_KEY_ID).unwrap(),
                key(&self.one_time.public_key.serialize()),
            )),
        }
    }

    pub fn identity_key(&self) -> [u8; 33] {
        self.identity.pair.identity_key().serialize()
    }

    pub fn initiate(
        &mut self,
        registration_id: u32,
        identity: &[u8],
        signed: (u32, &[u8], &[u8]),
        one_time: Option<(u32, &[u8])>,
    ) {
        let key = |bytes: &[u8]| PublicKey::deserialize(bytes).unwrap();
        let bundle = PreKeyBundle::new(
            registration_id,
            1.into(),
            one_time.map(|(id, bytes)| (id.into(), key(bytes))),
            signed.0.into(),
            key(signed.1),
            signed.2.to_vec(),
            IdentityKey::new(key(identity)),
        )
        .unwrap();
        let (sessions, identity) = (&mut self.sessions, &mut self.identity);
        let done = process_prekey_bundle(&self.wharf, sessions, identity, &bundle, &mut self.rng, UsePQRatchet::No);
        pollster::block_on(done).unwrap();
    }

    pub fn forget_sessions(&mut self) {
        self.sessions.0.clear();
    }

    /// Copies of the session under this many other addresses.
    pub fn fan_out(&mut self, count: usize) -> Vec<ProtocolAddress> {
        let session = self.sessions.0[&self.wharf].clone();
        let addresses: Vec<_> = (0..count).map(|n| ProtocolAddress::new(&format!("device {n}"), 1.into())).collect();
        self.sessions.0.extend(addresses.iter().map(|address| (address.clone(), session.clone())));
        addresses
    }

    pub fn encrypt_to(&mut self, address: &ProtocolAddress, text: &[u8]) -> Vec<u8> {
        let sent = message_encrypt(text, address, &mut self.sessions, &mut self.identity);
        pollster::block_on(sent).unwrap().serialize().to_vec()
    }

    pub fn serialized_session(&self) -> Vec<u8> {
        self.sessions.0[&self.wharf].serialize().unwrap()
    }

    pub fn deserialize_session(bytes: &[u8]) {
        drop(std::hint::black_box(SessionRecord::deserialize(bytes).unwrap()));
    }

    /// The serialized message, and whether it is a PreKey message.
    pub fn encrypt(&mut self, text: &[u8]) -> (Vec<u8>, bool) {
        let sent = message_encrypt(text, &self.wharf, &mut self.sessions, &mut self.identity);
        let sent = pollster::block_on(sent).unwrap();
        (sent.serialize().to_vec(), matches!(sent, CiphertextMessage::PreKeySignalMessage(_)))
    }

    pub fn decrypt(&mut self, bytes: &[u8], is_prekey: bool) -> Vec<u8> {
        self.try_decrypt(bytes, is_prekey).unwrap()
    }

    pub fn try_decrypt(&mut self, bytes: &[u8], is_prekey: bool) -> std::result::Result<Vec<u8>, Refusal> {
        let message = if is_prekey {
            PreKeySignalMessage::try_from(bytes).map(CiphertextMessage::PreKeySignalMessage)
        } else {
            SignalMessage::try_from(bytes).map(CiphertextMessage::SignalMessage)
        };
        let message = message.map_err(kind)?;
        let opened = message_decrypt(
            &message,
            &self.wharf,
            &mut self.sessions,
            &mut self.identity,
            &mut self.pre_keys,
            &self.signed,
            &mut self.rng,
            UsePQRatchet::No,
        );
        pollster::block_on(opened).map(|opened| opened.plaintext).map_err(kind)
    }
}

fn kind(error: SignalProtocolError) -> Refusal {
    match error {
        SignalProtocolError::DuplicatedMessage(..) => Refusal::Duplicate,
        SignalProtocolError::NoSenderKeyState(..) => Refusal::UnknownSenderKey,
        SignalProtocolError::SessionNotFound(..) => Refusal::NoSession,
        SignalProtocolError::InvalidPreKeyId => Refusal::UnknownPreKey,
        error if error.to_string().contains("too far into the future") => Refusal::TooFar,
        _ => Refusal::Invalid,
    }
}

impl End for Peer {
    fn offer(&mut self) -> Offer {
        let id = self.next_pre_key;
        self.next_pre_key += 1;
        let pair = KeyPair::generate(&mut self.rng);
        self.pre_keys.0.insert(id.into(), PreKeyRecord::new(id.into(), &pair));
        let public = wharf::signal::PublicKey::parse(&pair.public_key.serialize(), "key").unwrap();
        let one_time = Some((wharf::signal::PreKeyId::new(id).unwrap(), public));
        Offer::Bundle(Box::new(wharf::signal::PreKeyBundle { one_time, ..self.bundle() }))
    }

    fn take(&mut self, offer: &Offer) {
        let Offer::Bundle(bundle) = offer else { panic!("a bundle is expected") };
        let signed = (bundle.signed_pre_key_id.get(), &bundle.signed_pre_key.typed()[..], &bundle.signature[..]);
        let one_time = bundle.one_time.map(|(id, key)| (id.get(), key.typed()));
        let one_time = one_time.as_ref().map(|(id, key)| (*id, &key[..]));
        self.initiate(bundle.registration_id, &bundle.identity.0.typed(), signed, one_time);
    }

    fn write(&mut self, text: &[u8]) -> Option<Sent> {
        let sent = message_encrypt(text, &self.wharf, &mut self.sessions, &mut self.identity);
        match pollster::block_on(sent) {
            Err(SignalProtocolError::SessionNotFound(..) | SignalProtocolError::InvalidSessionStructure(_)) => None,
            sent => {
                let sent = sent.unwrap();
                let is_prekey = matches!(sent, CiphertextMessage::PreKeySignalMessage(_));
                Some(Sent { bytes: sent.serialize().to_vec(), is_prekey })
            }
        }
    }

    fn read(&mut self, sent: &Sent) -> std::result::Result<Vec<u8>, Refusal> {
        self.try_decrypt(&sent.bytes, sent.is_prekey)
    }

    fn archive(&mut self) {
        if let Some(record) = self.sessions.0.get_mut(&self.wharf) {
            record.archive_current_state().unwrap();
        }
    }

    fn snapshot(&mut self) {
        self.then = Some((self.sessions.clone(), self.pre_keys.clone()));
    }

    fn restore(&mut self) {
        if let Some(then) = &self.then {
            (self.sessions, self.pre_keys) = then.clone();
        }
    }
}

#[derive(Clone, Default)]
struct SenderKeys(HashMap<String, SenderKeyRecord>);

fn name_of(name: &SenderKeyName) -> String {
    format!("{} {}", name.group_id(), name.sender_id())
}

#[async_trait]
impl SenderKeyStore for SenderKeys {
    async fn store_sender_key(&mut self, name: &SenderKeyName, record: SenderKeyRecord) -> Result<()> {
        self.0.insert(name_of(name), record);
        Ok(())
    }
    async fn load_sender_key(&self, name: &SenderKeyName) -> Result<Option<SenderKeyRecord>> {
        Ok(self.0.get(&name_of(name)).cloned())
    }
}

/// A group member: its own key, and Wharf's.
pub struct Member {
    rng: StdRng,
    own: SenderKeyName,
    wharf: SenderKeyName,
    keys: SenderKeys,
    then: Option<SenderKeys>,
}

impl Member {
    pub fn new(seed: u64) -> Self {
        let name = |sender: &str| SenderKeyName::new("group".into(), sender.into());
        let (own, wharf) = (name("peer"), name("wharf"));
        let rng = StdRng::seed_from_u64(seed);
        let mut member = Self { rng, own, wharf, keys: SenderKeys::default(), then: None };
        member.distribution();
        member
    }

    pub fn distribution(&mut self) -> Vec<u8> {
        let made = create_sender_key_distribution_message(&self.own, &mut self.keys, &mut self.rng);
        pollster::block_on(made).unwrap().serialized().to_vec()
    }

    /// Forgets its own key: the next distribution is of another.
    pub fn rotate(&mut self) {
        self.keys.0.remove(&name_of(&self.own));
    }

    pub fn encrypt(&mut self, text: &[u8]) -> Vec<u8> {
        let sent = group_encrypt(&mut self.keys, &self.own, text, &mut self.rng);
        pollster::block_on(sent).unwrap().serialized().to_vec()
    }

    pub fn process(&mut self, distribution: &[u8]) {
        let distribution = SenderKeyDistributionMessage::try_from(distribution).unwrap();
        let done = process_sender_key_distribution_message(&self.wharf, &distribution, &mut self.keys);
        pollster::block_on(done).unwrap();
    }

    pub fn try_decrypt(&mut self, bytes: &[u8]) -> std::result::Result<Vec<u8>, Refusal> {
        pollster::block_on(group_decrypt(bytes, &mut self.keys, &self.wharf)).map_err(kind)
    }
}

impl End for Member {
    fn in_group(&self) -> bool {
        true
    }

    fn offer(&mut self) -> Offer {
        self.rotate();
        Offer::Distribution(self.distribution())
    }

    fn take(&mut self, offer: &Offer) {
        let Offer::Distribution(bytes) = offer else { panic!("a distribution is expected") };
        self.process(bytes);
    }

    fn write(&mut self, text: &[u8]) -> Option<Sent> {
        Some(Sent { bytes: self.encrypt(text), is_prekey: false })
    }

    fn read(&mut self, sent: &Sent) -> std::result::Result<Vec<u8>, Refusal> {
        self.try_decrypt(&sent.bytes)
    }

    fn archive(&mut self) {}

    fn snapshot(&mut self) {
        self.then = Some(self.keys.clone());
    }

    fn restore(&mut self) {
        self.keys = self.then.clone().unwrap_or_else(|| self.keys.clone());
    }
}
