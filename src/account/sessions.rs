//! The session cipher: one-to-one sessions and peers' identities.
//!
//! Live sessions are objects; they are encoded when they change. Only this module writes `SESSION` and `IDENTITY`.

use super::error::AccountError;
use crate::base::address::ProtocolAddress;
use crate::signal::{
    Ciphertext, IdentityKey, JumpLimit, LocalParty, PreKeyId, PreKeyPair, PreKeySignalMessage, PublicKey, Session,
    SignalError, SignalMessage, SignedPreKeyPair, VerifiedBundle,
};
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use rand::rngs::StdRng;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

type Writes = ChangeSet<owner::SessionCipher>;

pub struct SessionCipher {
    store: AccountStore,
    local: LocalParty,
    rng: StdRng,
    sessions: HashMap<ProtocolAddress, Session>,
    identities: HashMap<ProtocolAddress, IdentityKey>,
}

/// A received ciphertext, parsed.
#[derive(Debug)]
pub enum Sealed {
    Signal(SignalMessage),
    PreKey(Box<PreKeySignalMessage>),
}

/// A decrypted message, and what it did.
pub struct Opened {
    pub plaintext: Vec<u8>,
    /// Used up: to be deleted with the same commit.
    pub used_prekey: Option<PreKeyId>,
    /// The peer's identity is another than the one we knew.
    pub identity_changed: bool,
    pub writes: Writes,
}

impl SessionCipher {
    pub fn new(store: AccountStore, local: LocalParty, rng: StdRng) -> Self {
        Self { store, local, rng, sessions: HashMap::new(), identities: HashMap::new() }
    }

    /// Those of the addresses that have no session to send with.
    pub fn missing(&mut self, addresses: Vec<ProtocolAddress>) -> Result<Vec<ProtocolAddress>, AccountError> {
        let mut missing = Vec::new();
        for address in addresses {
            if !self.session(&address)?.is_established() {
                missing.push(address);
            }
        }
        Ok(missing)
    }

    /// Sets up sessions from verified bundles. Returns the addresses whose bundle could not be used.
    pub fn establish(
        &mut self,
        bundles: Vec<(ProtocolAddress, VerifiedBundle)>,
    ) -> Result<(Vec<(ProtocolAddress, SignalError)>, Writes), AccountError> {
        let (mut refused, mut writes) = (Vec::new(), Writes::default());
        for (address, bundle) in bundles {
            let session = load(&mut self.sessions, &self.store, &address)?;
            match session.initiate(&self.local, &bundle, &mut self.rng) {
                Ok(()) => {
                    put_session(&mut writes, &address, session);
                    self.remember(&address, bundle.get().identity, &mut writes)?;
                }
                Err(error) => refused.push((address, error)),
            }
        }
        Ok((refused, writes))
    }

    /// Encrypts one plaintext for each address; a failure concerns its address only.
    pub fn seal(
        &mut self,
        plaintexts: Vec<(ProtocolAddress, Vec<u8>)>,
    ) -> Result<(Vec<Result<Ciphertext, SignalError>>, Writes), AccountError> {
        let (mut sealed, mut writes) = (Vec::with_capacity(plaintexts.len()), Writes::default());
        for (address, plaintext) in plaintexts {
            let session = self.session(&address)?;
            let result = session.encrypt(&plaintext);
            if result.is_ok() {
                put_session(&mut writes, &address, session);
            }
            sealed.push(result);
        }
        Ok((sealed, writes))
    }

    /// The ids of our prekeys that this message needs: none when its session is known.
    pub fn needs_prekeys(&mut self, address: &ProtocolAddress, sealed: &Sealed) -> Result<bool, AccountError> {
        match sealed {
            Sealed::Signal(_) => Ok(false),
            Sealed::PreKey(message) => Ok(!self.session(address)?.knows(message)),
        }
    }

    /// Decrypts. `prekeys` are those that a new session needs.
    pub fn open(
        &mut self,
        address: &ProtocolAddress,
        sealed: &Sealed,
        prekeys: Option<(SignedPreKeyPair, Option<PreKeyPair>)>,
        limit: JumpLimit,
    ) -> Result<Result<Opened, SignalError>, AccountError> {
        let session = load(&mut self.sessions, &self.store, address)?;
        let rng = &mut self.rng;
        let opened = match sealed {
            Sealed::Signal(message) => session.decrypt(message, limit, rng).map(|plaintext| (plaintext, None)),
            Sealed::PreKey(message) => match &prekeys {
                None => session.decrypt_known(message, limit, rng).map(|plaintext| (plaintext, None)),
                Some((signed, one_time)) => session.accept(&self.local, signed, one_time.as_ref(), message, limit, rng),
            },
        };
        let (plaintext, used_prekey) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let mut writes = Writes::default();
        put_session(&mut writes, address, self.session(address)?);
        let identity_changed = match sealed {
            Sealed::PreKey(message) => self.remember(address, message.identity_key, &mut writes)?,
            Sealed::Signal(_) => false,
        };
        Ok(Ok(Opened { plaintext, used_prekey, identity_changed, writes }))
    }

    /// What was tried for a message that did not open.
    pub fn explain(&mut self, address: &ProtocolAddress, sealed: &Sealed) -> Result<String, AccountError> {
        let message = match sealed {
            Sealed::Signal(message) => message,
            Sealed::PreKey(message) => &message.message,
        };
        Ok(self.session(address)?.report(message).to_string())
    }

    /// Trusts an identity that was proved elsewhere, as the phone's is by linking.
    pub fn trust(&mut self, address: &ProtocolAddress, identity: IdentityKey) -> Result<Writes, AccountError> {
        let mut writes = Writes::default();
        self.remember(address, identity, &mut writes)?;
        Ok(writes)
    }

    /// The identity we know for this address.
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

    /// Stores the identity where it is new; true when it replaces another.
    fn remember(
        &mut self,
        address: &ProtocolAddress,
        identity: IdentityKey,
        writes: &mut Writes,
    ) -> Result<bool, AccountError> {
        let known = self.identity(address)?;
        if known == Some(identity) {
            return Ok(false);
        }
        self.identities.insert(address.clone(), identity);
        writes.put(kind::IDENTITY, address.as_str(), *identity.0.as_bytes());
        Ok(known.is_some())
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
            let stored = store.get(kind::SESSION, address.as_str().as_bytes())?;
            Ok(place.insert(stored.map(|bytes| Session::decode(&bytes)).transpose()?.unwrap_or_default()))
        }
    }
}

fn put_session(writes: &mut Writes, address: &ProtocolAddress, session: &Session) {
    writes.put(kind::SESSION, address.as_str(), session.encode().to_vec());
}
