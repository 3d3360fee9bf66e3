//! An engine whose commits are marked (`mark.rs`): a store that has lost commits is refused by name.

use super::StorageError;
use super::engine::{Batch, Engine, Row, Rows};
use super::mark::{Mark, MarkFile, Told};
use super::mark_sync::MarkSync;
use crate::base::ids::AccountKey;
use rand::Rng;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The key of the mark: before every account's.
const ROW: [u8; 1] = [0];

pub struct Marked<E> {
    engine: E,
    file: Arc<MarkFile>,
    file_sync: MarkSync,
    /// Of the last applied batch.
    mark: Mutex<Mark>,
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> StorageError {
    move |error| StorageError::Engine { action, why: error.to_string() }
}

impl<E: Engine> Marked<E> {
    /// Opens a store with its mark; refuses one that is behind it, or of another history.
    pub fn open(engine: E, path: &Path, rng: &mut dyn Rng) -> Result<Self, StorageError> {
        let (store, file) = (stored(&engine)?, MarkFile::open(path).map_err(failed("open its commit mark"))?);
        let shown = || path.display().to_string();
        match (file.read().map_err(failed("read its commit mark"))?, store) {
            (Told::Damage, _) => return Err(StorageError::MarkDamaged { mark: shown() }),
            (Told::Nothing, Some(_)) => {
                tracing::warn!(
                    mark = shown(),
                    "the commit mark is missing: whether the store is complete cannot be told"
                );
            }
            (Told::Mark(told), store) if told.position > store.map_or(0, |it| it.position) => {
                let lost = told.position - store.map_or(0, |it| it.position);
                return Err(StorageError::Behind { mark: shown(), lost });
            }
            (Told::Mark(told), Some(it)) if it.position == told.position && it != told => {
                return Err(StorageError::OtherHistory { mark: shown() });
            }
            _ => {}
        }
        Self::begin(engine, file, store.unwrap_or_else(|| Mark::begin(rng)))
    }

    /// Opens a store whatever its mark says: it is complete from now on.
    pub fn accept(engine: E, path: &Path, rng: &mut dyn Rng) -> Result<Self, StorageError> {
        let (store, file) = (stored(&engine)?, MarkFile::open(path).map_err(failed("open its commit mark"))?);
        file.clear().map_err(failed("clear its commit mark"))?;
        Self::begin(engine, file, store.unwrap_or_else(|| Mark::begin(rng)))
    }

    fn begin(engine: E, file: MarkFile, mark: Mark) -> Result<Self, StorageError> {
        let file = Arc::new(file);
        let file_sync = MarkSync::start(Arc::clone(&file)).map_err(failed("start the thread of its commit mark"))?;
        let it = Self { engine, file, file_sync, mark: Mutex::new(mark) };
        it.sync()?;
        Ok(it)
    }

    /// The store without its mark.
    pub const fn store(&self) -> &E {
        &self.engine
    }

    /// The store's own row of the mark, for a copy that takes the store's place.
    pub fn row(&self) -> Result<Option<Row>, StorageError> {
        Ok(self.engine.get(&ROW)?.map(|value| (ROW.to_vec(), value)))
    }
}

fn stored(engine: &dyn Engine) -> Result<Option<Mark>, StorageError> {
    let corrupt = || StorageError::Engine { action: "read its commit mark", why: "the row is malformed".into() };
    engine.get(&ROW)?.map(|value| Mark::decode(&value).ok_or_else(corrupt)).transpose()
}

impl<E: Engine> Engine for Marked<E> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.engine.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        // The mark is no row of the store.
        let after = if prefix.is_empty() { after.max(Some(&ROW)) } else { after };
        self.engine.scan(prefix, after, limit)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        Ok(self.engine.last(prefix)?.filter(|(key, _)| *key != ROW))
    }

    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError> {
        let mut rows = self.engine.copy(prefix)?;
        rows.retain(|(key, _)| *key != ROW);
        Ok(rows)
    }

    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        self.engine.fence(account, epoch)
    }

    fn apply(&self, mut batch: Batch) -> Result<(), StorageError> {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let next = mark.next(batch.writes.iter());
        batch.writes.insert(ROW.to_vec(), Some(next.encode()));
        self.engine.apply(batch)?;
        *mark = next;
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.sync()?;
        self.file.write(mark).and_then(|()| self.file_sync.tell()).map_err(failed("write its commit mark"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryEngine;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    /// A store of as many commits, as it would be found after a restart.
    fn of(commits: u8, mark: &Path, tag: u8) -> Marked<MemoryEngine> {
        let it = Marked::open(MemoryEngine::default(), mark, &mut rng()).unwrap();
        for commit in 0..commits {
            it.apply(Batch { writes: [(vec![9, commit, tag], Some(vec![tag]))].into(), ..Batch::default() }).unwrap();
            it.sync().unwrap();
        }
        it
    }

    fn engine_of(it: Marked<MemoryEngine>) -> MemoryEngine {
        it.engine
    }

    #[test]
    fn a_store_that_is_behind_its_mark_is_refused_with_the_number_of_lost_commits() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, other) = (folder.path().join("mark"), folder.path().join("other"));
        drop(of(5, &mark, 1));
        for (found, lost) in [(engine_of(of(3, &other, 1)), 2), (MemoryEngine::default(), 5)] {
            let refused = Marked::open(found, &mark, &mut rng()).err().unwrap();
            assert!(matches!(refused, StorageError::Behind { lost: told, .. } if told == lost), "{refused}");
            std::fs::remove_file(&other).ok();
        }
    }

    #[test]
    fn a_store_that_nothing_was_written_to_opens_again() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        assert!(Marked::open(engine_of(of(0, &mark, 1)), &mark, &mut rng()).is_ok());
    }

    #[test]
    fn a_store_that_is_ahead_of_its_mark_opens() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, other) = (folder.path().join("mark"), folder.path().join("other"));
        drop(of(2, &mark, 1));
        assert!(Marked::open(engine_of(of(3, &other, 1)), &mark, &mut rng()).is_ok());
    }

    #[test]
    fn a_store_of_another_history_is_refused_and_accepted_by_decision() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, other) = (folder.path().join("mark"), folder.path().join("other"));
        drop(of(3, &mark, 1));
        let found = || engine_of(of(3, &other, 2));
        let refused = Marked::open(found(), &mark, &mut rng()).err().unwrap();
        assert!(matches!(refused, StorageError::OtherHistory { .. }), "{refused}");
        std::fs::remove_file(&other).unwrap();
        let accepted = Marked::accept(found(), &mark, &mut rng()).unwrap();
        assert!(Marked::open(engine_of(accepted), &mark, &mut rng()).is_ok());
    }

    #[test]
    fn the_mark_is_no_row_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let it = of(1, &folder.path().join("mark"), 1);
        let rows = vec![(vec![9, 0, 1], vec![1])];
        assert_eq!(it.scan(&[], None, 9).unwrap(), rows);
        assert_eq!(it.copy(&[]).unwrap(), rows);
        let empty = of(0, &folder.path().join("empty"), 1);
        assert!(empty.last(&[]).unwrap().is_none() && empty.scan(&[], None, 1).unwrap().is_empty());
    }
}
