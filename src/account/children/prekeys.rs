//! One-time and signed prekeys (`wire-protocol.md` 1.10). Keys are stored in blocks of 32 and loaded when they are needed.
//!
//! Invariant: an id is never given out twice with different keys: the counter moves in the commit that stores the keys, and
//! a batch is generated anew, never uploaded again, when its upload failed.

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
/// Public keys to be uploaded, and what must be durable before.
type Batch = (Vec<(PreKeyId, PublicKey)>, Writes);

/// How long a signed prekey is offered.
const ROTATION_PERIOD: Duration = Duration::from_secs(SIGNED_PREKEY_DAYS * 24 * 60 * 60);

/// What a rotation of the signed prekey comes to.
pub enum Rotation {
    NotBefore(Timestamp),
    Upload(Box<SignedPreKeyPair>, Writes),
}

/// Prekeys that are uploaded at a time, at most: more do not fit a stanza's list.
const MAX_BATCH: u32 = 10_000;
/// Prekeys of one stored block.
const BLOCK: u32 = 32;

pub struct PreKeys {
    store: AccountStore,
    rng: StdRng,
}

impl PreKeys {
    pub fn new(store: AccountStore, rng: StdRng) -> Self {
        Self { store, rng }
    }

    /// The first signed prekey of a new device.
    pub fn create_signed(&mut self, identity: &IdentityKeyPair) -> (SignedPreKeyPair, Writes) {
        let pair = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, identity, &mut self.rng);
        let mut writes = Writes::default();
        put_signed(&mut writes, &pair, None);
        (pair, writes)
    }

    /// The newest signed prekey.
    pub fn current_signed(&mut self) -> Result<SignedPreKeyPair, AccountError> {
        Ok(self.newest_signed()?.0)
    }

    /// The service has this signed prekey from now on. One that was replaced meanwhile confirms nothing.
    pub fn confirm_signed(&mut self, id: SignedPreKeyId, now: Timestamp) -> Result<Writes, AccountError> {
        let (newest, confirmed) = self.newest_signed()?;
        let mut writes = Writes::default();
        if newest.id == id && confirmed.is_none() {
            put_signed(&mut writes, &newest, Some(now));
        }
        Ok(writes)
    }

    /// Replaces the signed prekey when it is due: the new one is to be uploaded once its commit is durable, and one that the
    /// service never took is uploaded again. The last three are kept, for messages that are on their way.
    pub fn rotate_signed(&mut self, identity: &IdentityKeyPair, now: Timestamp) -> Result<Rotation, AccountError> {
        let (newest, confirmed) = self.newest_signed()?;
        let Some(confirmed) = confirmed else {
            return Ok(Rotation::Upload(Box::new(newest), Writes::default()));
        };
        let due = confirmed.plus(ROTATION_PERIOD);
        if now < due {
            return Ok(Rotation::NotBefore(due));
        }
        let mut writes = Writes::default();
        let next = SignedPreKeyPair::generate(newest.id.next(), identity, &mut self.rng);
        put_signed(&mut writes, &next, None);
        let mut kept = self.all_signed()?;
        kept.sort_by_key(|(pair, _)| newest.id.distance_from(pair.id));
        for (pair, _) in kept.iter().skip(SIGNED_PREKEYS_KEPT - 1) {
            writes.delete(kind::SIGNED_PREKEY, pair.id.get().to_be_bytes());
        }
        Ok(Rotation::Upload(Box::new(next), writes))
    }

    /// The one that no other follows: ids wrap as those of one-time prekeys do.
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
        let (keys, mut writes) = self.generate_from(above, count)?;
        let newest = self.newest_signed()?.0.id;
        let last = signed.map_or(newest, |listed| listed.max(newest));
        let signed = SignedPreKeyPair::generate(last.next(), identity, &mut self.rng);
        put_signed(&mut writes, &signed, None);
        Ok((signed, (keys, writes)))
    }

    /// The pairs that a PreKey message names. An id that is not ours any more is an error of the message.
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

    /// Deletes a used-up prekey; to be committed with the session that it made.
    pub fn consume(&mut self, id: PreKeyId) -> Result<Writes, AccountError> {
        let number = id.get() / BLOCK;
        let mut block = self.block(number)?;
        block.keys.retain(|entry| entry.id != Some(id.get()));
        let mut writes = Writes::default();
        if block.keys.is_empty() {
            writes.delete(kind::PREKEY_BLOCK, number.to_be_bytes());
        } else {
            writes.put(kind::PREKEY_BLOCK, number.to_be_bytes(), encode(&block));
        }
        Ok(writes)
    }

    /// A batch to be uploaded once its commit is durable: the one that was given back, else a fresh one.
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
        let mut writes = Writes::default();
        put_marks(&mut writes, &PreKeyMarks { given_back: None, given_back_count: None, ..marks });
        Ok((keys, writes))
    }

    /// The service has refused the batch that begins here, of so many ids: it is the next one to be uploaded.
    pub fn give_back(&mut self, first: PreKeyId, count: u32) -> Result<Writes, AccountError> {
        let mut writes = Writes::default();
        put_marks(
            &mut writes,
            &PreKeyMarks { given_back: Some(first.get()), given_back_count: Some(count), ..self.marks()? },
        );
        Ok(writes)
    }

    /// Whether this digest was found right before.
    pub fn is_checked(&self, digest: &[u8]) -> Result<bool, AccountError> {
        Ok(self.marks()?.checked_digest.as_deref() == Some(digest))
    }

    /// This digest was found right: while the service says the same, it need not be made again.
    pub fn checked(&mut self, digest: &[u8]) -> Result<Writes, AccountError> {
        let mut writes = Writes::default();
        put_marks(&mut writes, &PreKeyMarks { checked_digest: Some(digest.to_vec()), ..self.marks()? });
        Ok(writes)
    }

    /// The public half of a one-time prekey that is here.
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
        let mut writes = Writes::default();
        let mut publics = Vec::with_capacity(count as usize);
        let mut block: Option<(u32, PreKeyBlock)> = None;
        for _ in 0..count {
            let number = id.get() / BLOCK;
            let mut current = match block.take() {
                Some(current) if current.0 == number => current,
                finished => {
                    flush(&mut writes, finished);
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
        flush(&mut writes, block);
        put_marks(&mut writes, &PreKeyMarks { next_id: Some(id.get()), ..self.marks()? });
        Ok((publics, writes))
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

fn put_marks(writes: &mut Writes, marks: &PreKeyMarks) {
    writes.put(kind::PREKEY_MARKS, "", encode(marks));
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
mod tests {
    use super::*;
    use crate::base::ids::AccountKey;
    use crate::signal::limits::MAX_PREKEY_ID;
    use crate::signal::testing::rng;
    use crate::storage::{Changes, MemoryEngine, Overlay, Records};
    use std::sync::Arc;

    struct Fixture {
        keys: PreKeys,
        overlay: Overlay,
        turn: u64,
    }

    impl Fixture {
        fn new() -> Self {
            let overlay = Overlay::default();
            let records = Records::new(Arc::new(MemoryEngine::default()));
            let store = AccountStore::new(records, AccountKey::from_bytes([1; 16]), overlay.clone());
            Self { keys: PreKeys::new(store, rng(1)), overlay, turn: 0 }
        }

        fn commit(&mut self, writes: Writes) {
            let mut changes = Changes::default();
            changes.absorb(writes);
            self.turn += 1;
            self.overlay.pin(self.turn, &changes);
        }

        fn generate(&mut self, count: u32) -> Vec<u32> {
            let (keys, writes) = self.keys.generate(count).unwrap();
            self.commit(writes);
            keys.into_iter().map(|(id, _)| id.get()).collect()
        }
    }

    #[test]
    fn ids_go_on_where_the_last_batch_ended_and_wrap_after_the_last() {
        let mut it = Fixture::new();
        assert_eq!(it.generate(3), [1, 2, 3]);
        assert_eq!(it.generate(2), [4, 5]);
        let mut writes = Writes::default();
        writes.put(
            kind::PREKEY_MARKS,
            "",
            encode(&PreKeyMarks { next_id: Some(MAX_PREKEY_ID), ..PreKeyMarks::default() }),
        );
        it.commit(writes);
        assert_eq!(it.generate(2), [MAX_PREKEY_ID, 1]);
    }

    #[test]
    fn prekey_records_have_the_golden_form() {
        let block = PreKeyBlock { keys: vec![pre_key_block::Entry { id: Some(31), secret: Some(vec![1; 32]) }] };
        crate::golden::check("prekey-block-v1.hex", &encode(&block));
        let signed = SignedPreKey {
            id: Some(1),
            secret: Some(vec![2; 32]),
            signature: Some(vec![3; 64]),
            confirmed_at_ms: None,
        };
        crate::golden::check("signed-prekey-v1.hex", &encode(&signed));
        let confirmed = SignedPreKey { confirmed_at_ms: Some(1_800_000_000_000), ..signed };
        crate::golden::check("signed-prekey-confirmed-v1.hex", &encode(&confirmed));
        crate::golden::check(
            "prekey-marks-v1.hex",
            &encode(&PreKeyMarks { next_id: Some(813), ..PreKeyMarks::default() }),
        );
    }

    #[test]
    fn the_signed_prekey_is_replaced_every_27_days_and_the_last_three_are_kept() {
        let mut it = Fixture::new();
        let identity = IdentityKeyPair::generate(&mut rng(2));
        let (first, writes) = it.keys.create_signed(&identity);
        it.commit(writes);
        let mut now = Timestamp(0);
        let rotate = |it: &mut Fixture, now| match it.keys.rotate_signed(&identity, now).unwrap() {
            Rotation::NotBefore(due) => Err(due),
            Rotation::Upload(pair, writes) => {
                it.commit(writes);
                Ok(pair.id.get())
            }
        };
        assert_eq!(rotate(&mut it, now), Ok(1), "what the service never took is uploaded again");
        for id in 2..=5 {
            let newest = it.keys.current_signed().unwrap().id;
            let other = it.keys.confirm_signed(newest.next(), now).unwrap();
            assert!(other.is_empty(), "the answer to another upload says nothing of this one");
            let writes = it.keys.confirm_signed(newest, now).unwrap();
            it.commit(writes);
            let due = now.plus(ROTATION_PERIOD);
            assert_eq!(rotate(&mut it, now), Err(due));
            now = due;
            assert_eq!(rotate(&mut it, now), Ok(id));
            assert_eq!(it.keys.current_signed().unwrap().id.get(), id);
        }
        let kept: Vec<_> = it.keys.all_signed().unwrap().iter().map(|(pair, _)| pair.id.get()).collect();
        assert_eq!(kept, [3, 4, 5]);
        assert!(it.keys.lookup(first.id, None).unwrap().is_err());
        let old = SignedPreKeyId::new(3).unwrap();
        assert!(it.keys.lookup(old, None).unwrap().is_ok(), "messages under it may still be on their way");
    }

    #[test]
    fn the_newest_signed_prekey_is_known_across_the_wrap_of_its_id() {
        let mut it = Fixture::new();
        let identity = IdentityKeyPair::generate(&mut rng(2));
        let last = SignedPreKeyPair::generate(SignedPreKeyId::new(MAX_PREKEY_ID).unwrap(), &identity, &mut rng(3));
        let mut writes = Writes::default();
        put_signed(&mut writes, &last, Some(Timestamp(0)));
        it.commit(writes);
        let later = Timestamp(0).plus(ROTATION_PERIOD);
        let Rotation::Upload(next, writes) = it.keys.rotate_signed(&identity, later).unwrap() else { panic!("due") };
        it.commit(writes);
        assert_eq!((next.id.get(), it.keys.current_signed().unwrap().id.get()), (1, 1));
    }

    #[test]
    fn a_consumed_prekey_is_gone_and_its_neighbours_stay() {
        let mut it = Fixture::new();
        let identity = IdentityKeyPair::generate(&mut rng(2));
        let (signed, writes) = it.keys.create_signed(&identity);
        it.commit(writes);
        it.generate(40);
        let id = |n| PreKeyId::new(n).unwrap();
        let found = it.keys.lookup(signed.id, Some(id(7))).unwrap().unwrap().1.unwrap();
        assert_eq!(found.id, id(7));
        let writes = it.keys.consume(id(7)).unwrap();
        it.commit(writes);
        assert_eq!(it.keys.lookup(signed.id, Some(id(7))).unwrap().err(), Some(SignalError::UnknownPreKey { id: 7 }));
        assert!(it.keys.lookup(signed.id, Some(id(8))).unwrap().is_ok());
    }
}
