//! One-time and signed prekeys (`wire-protocol.md` 1.10). Keys are stored in blocks of 32 and loaded when they are needed.
//!
//! Invariant: an id is never given out twice with different keys: the counter moves in the commit that stores the keys, and
//! a batch whose upload has an unknown outcome is abandoned, never uploaded again.

use crate::account::children::machine::Machine;
use crate::account::codec::{decode, encode};
use crate::account::error::AccountError;
use crate::account::proto::{PreKeyBlock, PreKeyMarks, SignedPreKey, pre_key_block};
use crate::base::time::Timestamp;
use crate::signal::limits::{SIGNED_PREKEY_DAYS, SIGNED_PREKEYS_KEPT};
use crate::signal::prekey::batch_start;
use crate::signal::{
    IdentityKeyPair, KeyPair, PreKeyId, PreKeyPair, PublicKey, SecretKey, SignalError, SignedPreKeyId, SignedPreKeyPair,
};
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use rand::rngs::StdRng;
use std::time::Duration;

type Writes = ChangeSet<owner::PreKeys>;
/// Public keys to be uploaded once their commit is durable.
type Batch = Vec<(PreKeyId, PublicKey)>;

/// Age at which the signed prekey is rotated.
const ROTATION_PERIOD: Duration = Duration::from_secs(SIGNED_PREKEY_DAYS * 24 * 60 * 60);

/// Outcome of a rotation of the signed prekey.
pub enum Rotation {
    NotBefore(Timestamp),
    Upload(Box<SignedPreKeyPair>),
}

/// Prekeys that are uploaded at a time, at most: more do not fit a stanza's list.
const MAX_BATCH: u32 = 10_000;
/// Prekeys of one stored block.
const BLOCK: u32 = 32;

pub struct PreKeys {
    store: AccountStore,
    rng: StdRng,
    writes: Writes,
}

impl Machine for PreKeys {
    type Owner = owner::PreKeys;
    const NAME: &'static str = "prekeys";

    fn take_writes(&mut self) -> Writes {
        std::mem::take(&mut self.writes)
    }
}

impl PreKeys {
    pub fn new(store: AccountStore, rng: StdRng) -> Self {
        Self { store, rng, writes: Writes::default() }
    }

    /// The first signed prekey of a new device.
    pub fn create_signed(&mut self, identity: &IdentityKeyPair) -> SignedPreKeyPair {
        let pair = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, identity, &mut self.rng);
        put_signed(&mut self.writes, &pair, None);
        pair
    }

    /// The newest signed prekey.
    pub fn current_signed(&mut self) -> Result<SignedPreKeyPair, AccountError> {
        Ok(self.newest_signed()?.0)
    }

    /// Marks this signed prekey as accepted by the service. Ignored for one that was replaced meanwhile.
    pub fn confirm_signed(&mut self, id: SignedPreKeyId, now: Timestamp) -> Result<(), AccountError> {
        let (newest, confirmed) = self.newest_signed()?;
        if newest.id == id && confirmed.is_none() {
            put_signed(&mut self.writes, &newest, Some(now));
        }
        Ok(())
    }

    /// Rotates the signed prekey when it is due. The new one is uploaded once its commit is durable; one that the service never
    /// accepted is uploaded again. The last three are kept, for messages under way.
    pub fn rotate_signed(&mut self, identity: &IdentityKeyPair, now: Timestamp) -> Result<Rotation, AccountError> {
        let (newest, confirmed) = self.newest_signed()?;
        let Some(confirmed) = confirmed else {
            return Ok(Rotation::Upload(Box::new(newest)));
        };
        let due = confirmed.plus(ROTATION_PERIOD);
        if now < due {
            return Ok(Rotation::NotBefore(due));
        }
        let next = SignedPreKeyPair::generate(newest.id.next(), identity, &mut self.rng);
        put_signed(&mut self.writes, &next, None);
        let mut kept = self.all_signed()?;
        kept.sort_by_key(|(pair, _)| newest.id.distance_from(pair.id));
        for (pair, _) in kept.iter().skip(SIGNED_PREKEYS_KEPT - 1) {
            self.writes.delete(kind::SIGNED_PREKEY, pair.id.get().to_be_bytes());
        }
        Ok(Rotation::Upload(Box::new(next)))
    }

    /// The newest signed prekey: no other follows it. Ids wrap as those of one-time prekeys do.
    fn newest_signed(&self) -> Result<(SignedPreKeyPair, Option<Timestamp>), AccountError> {
        let all = self.all_signed()?;
        let ids: Vec<_> = all.iter().map(|(pair, _)| pair.id).collect();
        // Of several without a successor the one that lies nearest behind all others: a restore leaves a gap.
        let furthest = |id: SignedPreKeyId| ids.iter().map(|other| id.distance_from(*other)).max();
        let newest = all.into_iter().min_by_key(|(pair, _)| furthest(pair.id));
        newest.ok_or(AccountError::Record { what: "signed prekey" })
    }

    fn all_signed(&self) -> Result<Vec<(SignedPreKeyPair, Option<Timestamp>)>, AccountError> {
        let rows = self.store.scan(kind::SIGNED_PREKEY, b"")?;
        rows.iter().map(|(_, bytes)| decode_signed(bytes)).collect()
    }

    /// After a restore: a new signed prekey and a fresh batch, with ids above those that the service lists, whose secrets may be
    /// lost.
    pub fn replace(
        &mut self,
        listed: &[PreKeyId],
        signed: Option<SignedPreKeyId>,
        identity: &IdentityKeyPair,
        count: u32,
    ) -> Result<(SignedPreKeyPair, Batch), AccountError> {
        let start = self.start_id()?;
        let above = listed.iter().max().map_or(start, |highest| highest.next().max(start));
        let keys = self.generate_from(above, count)?;
        let newest = self.newest_signed()?.0.id;
        let last = signed.map_or(newest, |listed| listed.max(newest));
        let signed = SignedPreKeyPair::generate(last.next(), identity, &mut self.rng);
        put_signed(&mut self.writes, &signed, None);
        Ok((signed, keys))
    }

    /// The key pairs that a PreKey message names. A deleted id is an error of the message.
    pub fn lookup(
        &mut self,
        signed: SignedPreKeyId,
        one_time: Option<PreKeyId>,
    ) -> Result<Result<(SignedPreKeyPair, Option<PreKeyPair>), SignalError>, AccountError> {
        let Some(bytes) = self.store.get(kind::SIGNED_PREKEY, &signed.get().to_be_bytes())? else {
            return Ok(Err(SignalError::UnknownSignedPreKey { id: signed.get() }));
        };
        let (signed, _) = decode_signed(&bytes)?;
        let Some(id) = one_time else {
            return Ok(Ok((signed, None)));
        };
        let block = self.block(id.get() / BLOCK)?;
        let Some(entry) = block.keys.iter().find(|entry| entry.id == Some(id.get())) else {
            return Ok(Err(SignalError::UnknownPreKey { id: id.get() }));
        };
        let secret = SecretKey::parse(entry.secret.as_deref().unwrap_or_default(), "stored prekey")?;
        Ok(Ok((signed, Some(PreKeyPair { id, pair: KeyPair::from_secret(secret) }))))
    }

    /// Deletes a consumed prekey, in the commit of the session that it made.
    pub fn consume(&mut self, id: PreKeyId) -> Result<(), AccountError> {
        let number = id.get() / BLOCK;
        let mut block = self.block(number)?;
        block.keys.retain(|entry| entry.id != Some(id.get()));
        if block.keys.is_empty() {
            self.writes.delete(kind::PREKEY_BLOCK, number.to_be_bytes());
        } else {
            self.writes.put(kind::PREKEY_BLOCK, number.to_be_bytes(), encode(&block));
        }
        Ok(())
    }

    /// The next batch to upload once its commit is durable: the requeued one, else a fresh one.
    pub fn batch(&mut self, count: u32) -> Result<Batch, AccountError> {
        let marks = self.marks()?;
        let Some(first) = marks.given_back.map(PreKeyId::new).transpose()? else { return self.generate(count) };
        let (mut keys, mut id) = (Vec::new(), first);
        for _ in 0..marks.given_back_count().min(MAX_BATCH) {
            keys.extend(self.public(id)?.map(|key| (id, key)));
            id = id.next();
        }
        if keys.is_empty() {
            return self.generate(count);
        }
        self.put_marks(&PreKeyMarks { given_back: None, given_back_count: None, ..marks });
        Ok(keys)
    }

    /// Requeues a batch that the service refused: `count` ids from `first` on are uploaded next.
    pub fn requeue_batch(&mut self, first: PreKeyId, count: u32) -> Result<(), AccountError> {
        let marks = PreKeyMarks { given_back: Some(first.get()), given_back_count: Some(count), ..self.marks()? };
        self.put_marks(&marks);
        Ok(())
    }

    /// True when this digest was verified before.
    pub fn is_checked(&self, digest: &[u8]) -> Result<bool, AccountError> {
        Ok(self.marks()?.checked_digest.as_deref() == Some(digest))
    }

    /// Stores a verified digest, so that the same one is not computed again.
    pub fn checked(&mut self, digest: &[u8]) -> Result<(), AccountError> {
        let marks = PreKeyMarks { checked_digest: Some(digest.to_vec()), ..self.marks()? };
        self.put_marks(&marks);
        Ok(())
    }

    /// The public half of a stored one-time prekey.
    pub fn public(&self, id: PreKeyId) -> Result<Option<PublicKey>, AccountError> {
        let block = self.block(id.get() / BLOCK)?;
        let Some(entry) = block.keys.iter().find(|entry| entry.id == Some(id.get())) else { return Ok(None) };
        let secret = SecretKey::parse(entry.secret.as_deref().unwrap_or_default(), "stored prekey")?;
        Ok(Some(*KeyPair::from_secret(secret).public()))
    }

    fn marks(&self) -> Result<PreKeyMarks, AccountError> {
        let stored = self.store.get(kind::PREKEY_MARKS, b"")?;
        Ok(stored.map(|bytes| decode(&bytes, "prekey watermark")).transpose()?.unwrap_or_default())
    }

    /// A fresh batch, to be uploaded once its commit is durable.
    pub fn generate(&mut self, count: u32) -> Result<Batch, AccountError> {
        let start = self.start_id()?;
        self.generate_from(start, count)
    }

    fn generate_from(&mut self, mut id: PreKeyId, count: u32) -> Result<Batch, AccountError> {
        let mut publics = Vec::with_capacity(count as usize);
        let mut block: Option<(u32, PreKeyBlock)> = None;
        for _ in 0..count {
            let number = id.get() / BLOCK;
            let mut current = match block.take() {
                Some(current) if current.0 == number => current,
                finished => {
                    flush(&mut self.writes, finished);
                    (number, self.block(number)?)
                }
            };
            let key = PreKeyPair::generate(id, &mut self.rng);
            current.1.keys.retain(|entry| entry.id != Some(id.get()));
            let secret = Some(key.pair.secret().expose().to_vec());
            current.1.keys.push(pre_key_block::Entry { id: Some(id.get()), secret });
            block = Some(current);
            publics.push((id, *key.pair.public()));
            id = id.next();
        }
        flush(&mut self.writes, block);
        let marks = PreKeyMarks { next_id: Some(id.get()), ..self.marks()? };
        self.put_marks(&marks);
        Ok(publics)
    }

    fn put_marks(&mut self, marks: &PreKeyMarks) {
        self.writes.put(kind::PREKEY_MARKS, "", encode(marks));
    }

    fn start_id(&self) -> Result<PreKeyId, AccountError> {
        let counter = self.marks()?.next_id();
        let highest = match self.store.last(kind::PREKEY_BLOCK)? {
            Some((_, bytes)) => {
                let block: PreKeyBlock = decode(&bytes, "prekey block")?;
                block.keys.iter().filter_map(|entry| entry.id).max().unwrap_or(0)
            }
            None => 0,
        };
        Ok(batch_start(counter, highest))
    }

    fn block(&self, number: u32) -> Result<PreKeyBlock, AccountError> {
        match self.store.get(kind::PREKEY_BLOCK, &number.to_be_bytes())? {
            Some(bytes) => decode(&bytes, "prekey block"),
            None => Ok(PreKeyBlock::default()),
        }
    }
}

fn flush(writes: &mut Writes, block: Option<(u32, PreKeyBlock)>) {
    if let Some((number, block)) = block {
        writes.put(kind::PREKEY_BLOCK, number.to_be_bytes(), encode(&block));
    }
}

fn put_signed(writes: &mut Writes, pair: &SignedPreKeyPair, confirmed_at: Option<Timestamp>) {
    let record = SignedPreKey {
        id: Some(pair.id.get()),
        secret: Some(pair.pair.secret().expose().to_vec()),
        signature: Some(pair.signature.to_vec()),
        confirmed_at_ms: confirmed_at.map(|at| at.0),
    };
    writes.put(kind::SIGNED_PREKEY, pair.id.get().to_be_bytes(), encode(&record));
}

fn decode_signed(bytes: &[u8]) -> Result<(SignedPreKeyPair, Option<Timestamp>), AccountError> {
    let record: SignedPreKey = decode(bytes, "signed prekey")?;
    let secret = SecretKey::parse(record.secret(), "stored signed prekey")?;
    let signature = record.signature().try_into().map_err(|_| AccountError::Record { what: "signed prekey" })?;
    let pair =
        SignedPreKeyPair { id: SignedPreKeyId::new(record.id())?, pair: KeyPair::from_secret(secret), signature };
    Ok((pair, record.confirmed_at_ms.map(Timestamp)))
}

#[cfg(test)]
#[path = "prekeys_tests.rs"]
mod tests;
