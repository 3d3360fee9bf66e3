//! The session cipher: encrypts and decrypts in one-to-one sessions, and keeps the identities of peers.
//!
//! Sessions live as objects and are encoded when they change. Only this module writes `SESSION` and `IDENTITY`.

mod migration;

pub use migration::Evidence;

use crate::account::children::machine::Machine;
use crate::account::error::AccountError;
use crate::base::address::ProtocolAddress;
use crate::base::time::Timestamp;
use crate::signal::{
    Buffer, Context, IdentityKey, JumpLimit, LocalParty, Part, PreKeyId, PreKeyPair, PreKeySignalMessage, PublicKey,
    RemoteParty, Session, SignalError, SignalMessage, SignedPreKeyPair, VerifiedBundle,
};
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use rand::rngs::StdRng;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

type Writes = ChangeSet<owner::SessionCipher>;
/// A plaintext, and the consumed one-time prekey.
type Plaintext = (Vec<u8>, Option<PreKeyId>);

pub struct SessionCipher {
    store: AccountStore,
    local: LocalParty,
    rng: StdRng,
    buffer: Buffer,
    sessions: HashMap<ProtocolAddress, Session>,
    identities: HashMap<ProtocolAddress, IdentityKey>,
    writes: Writes,
}

impl Machine for SessionCipher {
    type Owner = owner::SessionCipher;
    const NAME: &'static str = "session cipher";

    fn take_writes(&mut self) -> Writes {
        std::mem::take(&mut self.writes)
    }

    fn rest(&mut self) {
        (self.sessions, self.identities) = (HashMap::new(), HashMap::new());
    }
}

/// A received ciphertext, parsed.
#[derive(Debug)]
pub enum Ciphertext {
    Signal(SignalMessage),
    PreKey(Box<PreKeySignalMessage>),
}

/// An outgoing ciphertext.
#[derive(Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// The `type` of its `enc`.
    pub kind: &'static str,
    pub bytes: Vec<u8>,
}

/// Outcome of setting up sessions.
#[derive(Default)]
pub struct Established {
    /// Addresses whose bundle could not be used.
    pub refused: Vec<(ProtocolAddress, SignalError)>,
    /// Addresses whose identity has changed.
    pub changed: Vec<ProtocolAddress>,
}

/// Parameters of a decryption.
pub struct DecryptContext {
    /// Prekeys, for a message that begins a session.
    pub prekeys: Option<(SignedPreKeyPair, Option<PreKeyPair>)>,
    pub limit: JumpLimit,
    pub now: Timestamp,
}

/// A decrypted message, and its effects on the session.
#[derive(Debug)]
pub struct Decrypted {
    pub plaintext: Vec<u8>,
    /// The consumed one-time prekey, deleted in the same commit.
    pub used_prekey: Option<PreKeyId>,
    /// The peer's identity has changed.
    pub identity_changed: bool,
}

impl SessionCipher {
    pub fn new(store: AccountStore, local: LocalParty, rng: StdRng) -> Self {
        let (sessions, identities) = (HashMap::new(), HashMap::new());
        Self { store, local, rng, buffer: Buffer::new(), sessions, identities, writes: Writes::default() }
    }

    /// The addresses without a session to encrypt with.
    pub fn missing(
        &mut self,
        addresses: Vec<ProtocolAddress>,
        now: Timestamp,
    ) -> Result<Vec<ProtocolAddress>, AccountError> {
        let mut missing = Vec::new();
        for address in addresses {
            let remote = self.remote(&address)?;
            if !load(&mut self.sessions, &self.store, &address)?.is_usable(&remote, now) {
                missing.push(address);
            }
        }
        Ok(missing)
    }

    /// Sets up sessions from verified bundles. The service vouches for their identities: a changed one is trusted and reported.
    pub fn establish(
        &mut self,
        bundles: Vec<(ProtocolAddress, VerifiedBundle)>,
        now: Timestamp,
    ) -> Result<Established, AccountError> {
        let mut done = Established::default();
        for (address, bundle) in bundles {
            let mut remote = self.remote(&address)?;
            let session = load(&mut self.sessions, &self.store, &address)?;
            let mut begun = session.initiate(&self.local, &remote, &bundle, now, &mut self.rng);
            if let Err(SignalError::UntrustedIdentity { presented, .. }) = begun {
                remote.identity = Some(presented);
                begun = session.initiate(&self.local, &remote, &bundle, now, &mut self.rng);
            }
            match begun {
                Ok(()) => {
                    put_session(&mut self.writes, &address, session);
                    if self.remember(&address, bundle.get().identity)? {
                        done.changed.push(address);
                    }
                }
                Err(error) => done.refused.push((address, error)),
            }
        }
        Ok(done)
    }

    /// Encrypts one plaintext for each address. A failure concerns its address only.
    pub fn encrypt(
        &mut self,
        plaintexts: Vec<(ProtocolAddress, Vec<u8>)>,
        now: Timestamp,
    ) -> Result<Vec<Result<Encrypted, SignalError>>, AccountError> {
        let mut encrypted = Vec::with_capacity(plaintexts.len());
        for (address, plaintext) in plaintexts {
            let remote = self.remote(&address)?;
            let session = load(&mut self.sessions, &self.store, &address)?;
            let limit = JumpLimit::default();
            let ctx = Context { remote: &remote, limit, now, rng: &mut self.rng, buffer: &mut self.buffer };
            let result = session.encrypt(&plaintext, ctx).map(|ciphertext| match ciphertext {
                crate::signal::Ciphertext::Signal(bytes) => Encrypted { kind: "msg", bytes: bytes.to_vec() },
                crate::signal::Ciphertext::PreKey(bytes) => Encrypted { kind: "pkmsg", bytes: bytes.to_vec() },
            });
            if result.is_ok() {
                put_session(&mut self.writes, &address, session);
            }
            encrypted.push(result);
        }
        Ok(encrypted)
    }

    /// True when a message begins a session that is not stored yet, so that decrypting it needs our prekeys.
    pub fn needs_prekeys(&mut self, address: &ProtocolAddress, ciphertext: &Ciphertext) -> Result<bool, AccountError> {
        match ciphertext {
            Ciphertext::Signal(_) => Ok(false),
            Ciphertext::PreKey(message) => Ok(!self.session(address)?.knows(message)),
        }
    }

    /// Decrypts. A changed identity is trusted and reported once its first message decrypts; messages of the old identity are
    /// refused from then on.
    pub fn decrypt(
        &mut self,
        address: &ProtocolAddress,
        ciphertext: &Ciphertext,
        context: &DecryptContext,
    ) -> Result<Result<Decrypted, SignalError>, AccountError> {
        let mut remote = self.remote(address)?;
        let mut decrypted = self.try_decrypt(&remote, ciphertext, context)?;
        if let (Err(SignalError::UntrustedIdentity { .. }), Ciphertext::PreKey(message)) = (&decrypted, ciphertext) {
            remote.identity = Some(message.identity_key);
            decrypted = self.try_decrypt(&remote, ciphertext, context)?;
        }
        let (plaintext, used_prekey) = match decrypted {
            Ok(decrypted) => decrypted,
            Err(error) => return Ok(Err(error)),
        };
        put_session(&mut self.writes, address, load(&mut self.sessions, &self.store, address)?);
        let identity_changed = match ciphertext {
            Ciphertext::PreKey(message) => self.remember(address, message.identity_key)?,
            Ciphertext::Signal(_) => false,
        };
        Ok(Ok(Decrypted { plaintext, used_prekey, identity_changed }))
    }

    fn try_decrypt(
        &mut self,
        remote: &RemoteParty,
        ciphertext: &Ciphertext,
        context: &DecryptContext,
    ) -> Result<Result<Plaintext, SignalError>, AccountError> {
        let session = load(&mut self.sessions, &self.store, &remote.address)?;
        let DecryptContext { prekeys, limit, now } = context;
        let ctx = Context { remote, limit: *limit, now: *now, rng: &mut self.rng, buffer: &mut self.buffer };
        let decrypted = match (ciphertext, prekeys) {
            (Ciphertext::Signal(message), _) => session.decrypt(message, ctx).map(|plaintext| (plaintext, None)),
            (Ciphertext::PreKey(message), None) => {
                session.decrypt_known(message, ctx).map(|plaintext| (plaintext, None))
            }
            (Ciphertext::PreKey(message), Some((signed, one_time))) => {
                session.accept(&self.local, signed, one_time.as_ref(), message, ctx)
            }
        };
        Ok(decrypted.map(|(plaintext, used)| (plaintext.to_vec(), used)))
    }

    /// The registration id of the session with this address.
    pub fn registration_id(&mut self, address: &ProtocolAddress) -> Result<Option<u32>, AccountError> {
        Ok(self.session(address)?.remote_registration_id())
    }

    /// A report of the session states that were tried for a message that did not decrypt.
    pub fn explain(&mut self, address: &ProtocolAddress, ciphertext: &Ciphertext) -> Result<String, AccountError> {
        let message = match ciphertext {
            Ciphertext::Signal(message) => message,
            Ciphertext::PreKey(message) => &message.message,
        };
        Ok(self.session(address)?.report(message).to_string())
    }

    /// Trusts an identity that was verified elsewhere, as the phone's is by linking.
    pub fn trust(&mut self, address: &ProtocolAddress, identity: IdentityKey) -> Result<(), AccountError> {
        self.remember(address, identity).map(|_| ())
    }

    /// The stored identity of this address.
    pub fn identity(&mut self, address: &ProtocolAddress) -> Result<Option<IdentityKey>, AccountError> {
        if let Some(known) = self.identities.get(address) {
            return Ok(Some(*known));
        }
        let Some(bytes) = self.store.get(kind::IDENTITY, address.as_str().as_bytes())? else {
            return Ok(None);
        };
        let identity = IdentityKey(PublicKey::parse(&bytes, "stored identity")?);
        self.identities.insert(address.clone(), identity);
        Ok(Some(identity))
    }

    /// The identities we know for these addresses, in their order.
    pub fn identities(&mut self, addresses: &[ProtocolAddress]) -> Result<Vec<Option<IdentityKey>>, AccountError> {
        addresses.iter().map(|address| self.identity(address)).collect()
    }

    /// Stores the identity where it is new; true when it replaces another.
    fn remember(&mut self, address: &ProtocolAddress, identity: IdentityKey) -> Result<bool, AccountError> {
        let known = self.identity(address)?;
        if known == Some(identity) {
            return Ok(false);
        }
        self.identities.insert(address.clone(), identity);
        self.writes.put(kind::IDENTITY, address.as_str(), *identity.0.as_bytes());
        if let Some(user) = pn_user(address) {
            self.writes.put(kind::PN_PEER, user, [1]);
        }
        Ok(known.is_some())
    }

    fn remote(&mut self, address: &ProtocolAddress) -> Result<RemoteParty, AccountError> {
        Ok(RemoteParty { address: address.clone(), identity: self.identity(address)? })
    }

    fn session(&mut self, address: &ProtocolAddress) -> Result<&mut Session, AccountError> {
        load(&mut self.sessions, &self.store, address)
    }
}

/// The live session, loaded at its first use.
fn load<'a>(
    sessions: &'a mut HashMap<ProtocolAddress, Session>,
    store: &AccountStore,
    address: &ProtocolAddress,
) -> Result<&'a mut Session, AccountError> {
    match sessions.entry(address.clone()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(place) => {
            let prefix = part_key(address, &[]);
            let rows = store.scan(kind::SESSION, &prefix)?;
            let parts = rows.iter().map(|(key, bytes)| Ok((Part::parse(&key[prefix.len()..])?, bytes)));
            let parts = parts.collect::<Result<Vec<_>, SignalError>>()?;
            Ok(place.insert(Session::from_parts(parts)?))
        }
    }
}

fn put_session(writes: &mut Writes, address: &ProtocolAddress, session: &mut Session) {
    for (part, bytes) in session.take_changes() {
        let key = part_key(address, &part.suffix());
        match bytes {
            Some(mut bytes) => writes.put(kind::SESSION, key, std::mem::take(&mut *bytes)),
            None => writes.delete(kind::SESSION, key),
        }
    }
}

/// The phone number of an address, if it has one.
fn pn_user(address: &ProtocolAddress) -> Option<&str> {
    let user = address.as_str().strip_suffix("@c.us.0")?;
    Some(user.split_once(':').map_or(user, |(user, _)| user))
}

/// True when a session with this address is stored.
pub(in crate::account) fn is_stored(store: &AccountStore, address: &ProtocolAddress) -> Result<bool, AccountError> {
    Ok(!store.scan(kind::SESSION, &part_key(address, &[]))?.is_empty())
}

/// An address has no zero byte, so no key is a prefix of another address's key.
pub(in crate::account) fn part_key(address: &ProtocolAddress, suffix: &[u8]) -> Vec<u8> {
    [address.as_str().as_bytes(), &[0], suffix].concat()
}

#[cfg(test)]
#[path = "session_cipher_tests.rs"]
mod tests;
