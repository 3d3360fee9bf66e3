//! Sealing at rest: every value is encrypted under a data key of its account, and bound to its place (`architecture.md`, "State").
//!
//! A master key from outside the data folder wraps each account's data key; a new master key rewraps them and leaves
//! values untouched. Names in keys, such as phone numbers, are keyed hashes. Guarantee: without the master key, the data folder
//! reveals neither values nor names, and a value that was altered or moved to another place is detected. An old value put back
//! in its own place is not detected.
//!
//! A sealed value is a format byte (and the number of its data key, where that was ever rotated), a nonce of 24 bytes, and
//! XChaCha20-Poly1305 over the value with the full key as associated data.

use super::StorageError;
use super::data_keys::DataKeys;
use super::engine::{Batch, Engine};
use super::kinds::kind;
use crate::base::ids::AccountKey;
use crate::base::secret::Secret;
use chacha20poly1305::aead::{Aead, AeadInOut, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rand::Rng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use zeroize::Zeroizing;

const FORMAT: u8 = 1;
/// Followed by the number of the data key: of accounts whose key was rotated.
const FORMAT_WITH_KEY: u8 = 2;
const NONCE: usize = 24;
const TAG: usize = 16;
/// The most bytes that sealing adds to a value.
pub(super) const OVERHEAD: usize = 1 + 4 + NONCE + TAG;
/// The length of a hashed name.
pub(super) const NAME: usize = 16;

/// The key that wraps the data keys; 32 bytes.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret<32>);

impl MasterKey {
    pub fn generate(rng: &mut StdRng) -> Self {
        Self(Secret::generate(rng))
    }

    /// Reads 64 hex digits, blanks around them ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(hex::decode(text.trim()).ok()?);
        Secret::from_slice(&bytes).map(Self)
    }

    /// 64 hex digits: what [`parse`](Self::parse) reads.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.expose()))
    }

    /// The key's id as hex digits, as errors name it.
    pub fn id_hex(&self) -> String {
        hex::encode(self.id())
    }

    /// Identifies a key without revealing any of it.
    fn id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        let hash = Sha256::new().chain_update(b"wharf master key").chain_update(self.0.expose()).finalize();
        id.copy_from_slice(&hash[..8]);
        id
    }
}

/// All data keys, unwrapped when they are needed.
pub struct Sealing {
    master: MasterKey,
    rng: Mutex<StdRng>,
    keys: RwLock<HashMap<AccountKey, Arc<DataKeys>>>,
}

impl Sealing {
    pub fn new(master: MasterKey, rng: StdRng) -> Self {
        Self { master, rng: Mutex::new(rng), keys: RwLock::new(HashMap::new()) }
    }

    /// Checks that this master key opens the engine's data; an empty engine fits every key.
    pub(super) fn check(&self, engine: &dyn Engine) -> Result<(), StorageError> {
        match self.load(engine, AccountKey::SERVER)? {
            Some(_) => Ok(()),
            None if engine.scan(&[], None, 1)?.is_empty() => Ok(()),
            None => Err(StorageError::NotSealed),
        }
    }

    /// The account's keys, generated and added to the batch if it has none yet.
    fn keys_for_writing(
        &self,
        engine: &dyn Engine,
        batch: &mut Batch,
        account: AccountKey,
    ) -> Result<Arc<DataKeys>, StorageError> {
        if let Some(keys) = self.load(engine, account)? {
            return Ok(keys);
        }
        let keys = DataKeys::generate(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner));
        self.stage_keys(batch, account, keys)
    }

    fn load(&self, engine: &dyn Engine, account: AccountKey) -> Result<Option<Arc<DataKeys>>, StorageError> {
        if let Some(known) = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&account) {
            return Ok(Some(known.clone()));
        }
        let row = data_key_row(account);
        let Some(wrapped) = engine.get(&row)? else { return Ok(None) };
        let keys = unwrap(&self.master, &row, &wrapped)?;
        Ok(Some(self.remember(account, keys)))
    }

    /// Drops an account's keys from memory; returns the key of the row that stores them.
    pub(super) fn forget(&self, account: AccountKey) -> Vec<u8> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(&account);
        data_key_row(account)
    }

    /// Switches an account to these keys.
    fn stage_keys(
        &self,
        batch: &mut Batch,
        account: AccountKey,
        keys: DataKeys,
    ) -> Result<Arc<DataKeys>, StorageError> {
        let row = data_key_row(account);
        let wrapped = self.wrap(&row, &keys)?;
        batch.writes.insert(row, Some(wrapped));
        Ok(self.remember(account, keys))
    }

    fn remember(&self, account: AccountKey, keys: DataKeys) -> Arc<DataKeys> {
        let keys = Arc::new(keys);
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(account, keys.clone());
        keys
    }

    /// The master key's id, then the keys sealed under it.
    fn wrap(&self, row: &[u8], keys: &DataKeys) -> Result<Vec<u8>, StorageError> {
        let cipher = XChaCha20Poly1305::new(self.master.0.expose().into());
        Ok([&self.master.id()[..], &self.encrypt(&cipher, &[FORMAT], row, &keys.encode())?].concat())
    }

    fn encrypt(
        &self,
        cipher: &XChaCha20Poly1305,
        head: &[u8],
        place: &[u8],
        value: &[u8],
    ) -> Result<Vec<u8>, StorageError> {
        let mut out = Vec::with_capacity(head.len() + NONCE + value.len() + TAG);
        let mut nonce = [0; NONCE];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut nonce);
        out.extend_from_slice(head);
        out.extend_from_slice(&nonce);
        let text = out.len();
        out.extend_from_slice(value);
        let tag = cipher
            .encrypt_inout_detached(&XNonce::from(nonce), place, out.split_at_mut(text).1.into())
            .map_err(|_| StorageError::Engine { action: "seal", why: "a value is too long".into() })?;
        out.extend_from_slice(&tag);
        Ok(out)
    }

    /// Seals a value for its place, the full key of its row.
    pub(super) fn seal(
        &self,
        engine: &dyn Engine,
        batch: &mut Batch,
        account: AccountKey,
        place: &[u8],
        value: &[u8],
    ) -> Result<Vec<u8>, StorageError> {
        let keys = self.keys_for_writing(engine, batch, account)?;
        self.seal_under(&keys, place, value)
    }

    fn seal_under(&self, keys: &DataKeys, place: &[u8], value: &[u8]) -> Result<Vec<u8>, StorageError> {
        match keys.newest() {
            Some((0, cipher)) => self.encrypt(cipher, &[FORMAT], place, value),
            Some((id, cipher)) => {
                self.encrypt(cipher, &[&[FORMAT_WITH_KEY], &id.to_be_bytes()[..]].concat(), place, value)
            }
            None => Err(StorageError::Engine { action: "seal", why: "the account has no data key".into() }),
        }
    }

    /// Opens a sealed value; `None` when it was altered, or sealed for another place.
    pub(super) fn open(
        &self,
        engine: &dyn Engine,
        account: AccountKey,
        place: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.load(engine, account)?.and_then(|keys| open_under(&keys, place, sealed)))
    }

    /// The hashed name, as it stands in keys. An account without data keys has no named rows; its first write generates them.
    pub(super) fn name(
        &self,
        engine: &dyn Engine,
        batch: Option<&mut Batch>,
        account: AccountKey,
        name: &[u8],
    ) -> Result<Option<[u8; NAME]>, StorageError> {
        let keys = match batch {
            Some(batch) => Some(self.keys_for_writing(engine, batch, account)?),
            None => self.load(engine, account)?,
        };
        Ok(keys.map(|keys| {
            let mut block = Zeroizing::new([0; 64]);
            block[..32].copy_from_slice(keys.names.expose());
            let hash = Hmac::<Sha256>::new((&*block).into()).chain_update(name).finalize().into_bytes();
            let mut short = [0; NAME];
            short.copy_from_slice(&hash[..NAME]);
            short
        }))
    }
}

/// Rotation of an account's data key; each step is one commit.
impl Sealing {
    /// Adds a data key, which seals all later writes. An account that is being rotated already keeps its newest key.
    pub(super) fn begin_rotation(
        &self,
        engine: &dyn Engine,
        batch: &mut Batch,
        account: AccountKey,
    ) -> Result<(), StorageError> {
        if let Some(keys) = self.load(engine, account)?.filter(|keys| !keys.is_rotating()) {
            let next = keys.begin_rotation(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner));
            self.stage_keys(batch, account, next)?;
        }
        Ok(())
    }

    /// Reseals those rows of a page that an older key seals. Returns the key of the row to continue after.
    pub(super) fn reseal(
        &self,
        engine: &dyn Engine,
        batch: &mut Batch,
        account: AccountKey,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(keys) = self.load(engine, account)? else { return Ok(None) };
        let newest = keys.newest().map(|(id, _)| id);
        let page = engine.scan(account.as_bytes(), after, limit)?;
        let end = page.last().filter(|_| page.len() == limit).map(|(key, _)| key.clone());
        for (place, sealed) in page {
            let is_sealed = !matches!(place.get(16), Some(&(kind::DATA_KEY | kind::RESTORING)));
            if is_sealed && key_of(&sealed).map(|(id, _)| id) != newest {
                // A damaged row is left as it is and reported when it is read.
                if let Some(value) = open_under(&keys, &place, &sealed) {
                    let sealed = self.seal_under(&keys, &place, &value)?;
                    batch.writes.insert(place, Some(sealed));
                }
            }
        }
        Ok(end)
    }

    /// Removes the older data keys, which no longer seal anything.
    pub(super) fn end_rotation(
        &self,
        engine: &dyn Engine,
        batch: &mut Batch,
        account: AccountKey,
    ) -> Result<(), StorageError> {
        if let Some(keys) = self.load(engine, account)? {
            self.stage_keys(batch, account, keys.end_rotation())?;
        }
        Ok(())
    }

    pub(super) fn is_rotating(&self, engine: &dyn Engine, account: AccountKey) -> Result<bool, StorageError> {
        Ok(self.load(engine, account)?.is_some_and(|keys| keys.is_rotating()))
    }
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealing(…)")
    }
}

/// Rewraps every data key under a new master key, in one batch; returns their number.
pub fn change_master_key(
    engine: &dyn Engine,
    old: &MasterKey,
    new: MasterKey,
    rng: StdRng,
) -> Result<usize, StorageError> {
    let sealing = Sealing::new(new, rng);
    let mut batch = Batch::default();
    for (row, wrapped) in engine.scan(&data_key_prefix(), None, usize::MAX)? {
        let keys = unwrap(old, &row, &wrapped)?;
        let wrapped = sealing.wrap(&row, &keys)?;
        batch.writes.insert(row, Some(wrapped));
    }
    let count = batch.writes.len();
    engine.apply(batch)?;
    engine.sync()?;
    Ok(count)
}

/// Whether an engine holds sealed rows.
pub(super) fn is_sealed(engine: &dyn Engine) -> Result<bool, StorageError> {
    Ok(!engine.scan(&data_key_prefix(), None, 1)?.is_empty())
}

fn unwrap(master: &MasterKey, row: &[u8], wrapped: &[u8]) -> Result<DataKeys, StorageError> {
    let corrupt = || StorageError::Corrupt {
        kind: kind::DATA_KEY,
        key: hex::encode(row.get(17..).unwrap_or_default()),
        what: "data key",
    };
    let (id, sealed) = wrapped.split_first_chunk::<8>().ok_or_else(corrupt)?;
    if *id != master.id() {
        return Err(StorageError::WrongMasterKey { given: master.id_hex(), needed: hex::encode(id) });
    }
    let cipher = XChaCha20Poly1305::new(master.0.expose().into());
    let sealed = sealed.strip_prefix(&[FORMAT]).ok_or_else(corrupt)?;
    let keys = Zeroizing::new(decrypt(&cipher, row, sealed).ok_or_else(corrupt)?);
    DataKeys::decode(&keys).ok_or_else(corrupt)
}

/// Opens a sealed value with the key that it names.
fn open_under(keys: &DataKeys, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (id, sealed) = key_of(sealed)?;
    decrypt(keys.of(id)?, place, sealed)
}

/// The number of the key that a value is sealed under, and what follows it.
fn key_of(sealed: &[u8]) -> Option<(u32, &[u8])> {
    match sealed.split_first()? {
        (&FORMAT, rest) => Some((0, rest)),
        (&FORMAT_WITH_KEY, rest) => rest.split_first_chunk::<4>().map(|(id, rest)| (u32::from_be_bytes(*id), rest)),
        _ => None,
    }
}

fn decrypt(cipher: &XChaCha20Poly1305, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE>()?;
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: place }).ok()
}

/// What the rows of all wrapped data keys begin with.
pub(super) fn data_key_prefix() -> Vec<u8> {
    [&AccountKey::SERVER.as_bytes()[..], &[kind::DATA_KEY]].concat()
}

/// Where the wrapped data keys of an account stand.
pub(super) fn data_key_row(account: AccountKey) -> Vec<u8> {
    [&data_key_prefix()[..], account.as_bytes()].concat()
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
