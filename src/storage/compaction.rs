//! Compaction of a store that is in use: all rows are copied into the next generation, then what was written meanwhile, in rounds, and the
//! last few with writes held.
//!
//! Invariant: a failure and a crash at any time leave the generation that is named whole (`generations.rs`).

use super::engine::{Batch, Engine, Rows};
use super::generations::Generations;
use super::{SledEngine, StorageError};
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// Rows that are copied at once.
const PAGE: usize = 1000;
/// Keys written meanwhile that are kept in memory.
const MAX_WRITTEN: usize = 20_000;
/// Rounds after which a store that is written faster than it is copied is left as it is.
const MAX_ROUNDS: usize = 100;

/// The bytes on disk before and after.
pub type Compacted = (u64, u64);

/// The store remembers the keys that are written; not any longer when this is dropped, in a panic too.
struct Remembering<'a>(&'a Generations);

impl<'a> Remembering<'a> {
    fn begin(store: &'a Generations) -> Self {
        *store.written() = Some(BTreeSet::new());
        Self(store)
    }
}

impl Drop for Remembering<'_> {
    fn drop(&mut self) {
        *self.0.written() = None;
    }
}

impl Generations {
    /// Copies the store into a new file without the space of overwritten rows. `pause` is called between pages, and may end it: `false`.
    /// Returns `None` where it was ended, or the writes came faster than the copy.
    pub fn compact(&self, mut pause: impl FnMut() -> bool) -> Result<Option<Compacted>, StorageError> {
        let _one_at_a_time = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.size()?;
        let remembering = Remembering::begin(self);
        let copied = self.copy_into_next(&mut pause);
        drop(remembering);
        self.remove_others()?;
        Ok(if copied? { Some((before, self.size()?)) } else { None })
    }

    fn copy_into_next(&self, pause: &mut dyn FnMut() -> bool) -> Result<bool, StorageError> {
        let (number, next) = self.next()?;
        let mut after = None::<Vec<u8>>;
        loop {
            let page = self.scan(&[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            put(&next, page)?;
            let many = self.written().as_ref().is_some_and(|keys| keys.len() >= MAX_WRITTEN);
            if many {
                self.catch_up(&next)?;
            }
            if !pause() {
                return Ok(false);
            }
        }
        for _ in 0..MAX_ROUNDS {
            let found = self.catch_up(&next)?;
            next.sync()?;
            if found < PAGE {
                return self.finish(number, next);
            }
        }
        Ok(false)
    }

    /// Copies what was written since the last round. Returns the number of rows.
    fn catch_up(&self, next: &SledEngine) -> Result<usize, StorageError> {
        let keys = self.written().as_mut().map(std::mem::take).unwrap_or_default();
        self.copy_rows(&keys, next)?;
        Ok(keys.len())
    }

    fn copy_rows(&self, keys: &BTreeSet<Vec<u8>>, next: &SledEngine) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        for key in keys {
            batch.writes.insert(key.clone(), self.get(key)?);
            if batch.writes.len() == PAGE {
                next.apply(std::mem::take(&mut batch))?;
            }
        }
        next.apply(batch)
    }

    fn finish(&self, number: u64, next: SledEngine) -> Result<bool, StorageError> {
        let mut no_batch = self.written();
        self.copy_rows(&no_batch.take().unwrap_or_default(), &next)?;
        next.sync()?;
        let before = self.switch(number, next)?;
        drop(no_batch);
        // It writes what it still has to, without anybody waiting.
        drop(before);
        Ok(true)
    }

    /// The bytes of all rows. `pause` as of [`compact`](Self::compact).
    pub fn used(&self, mut pause: impl FnMut() -> bool) -> Result<Option<u64>, StorageError> {
        let (mut after, mut used) = (None::<Vec<u8>>, 0);
        loop {
            let page = self.scan(&[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(Some(used)) };
            after = Some(last.clone());
            used += page.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
            if !pause() {
                return Ok(None);
            }
        }
    }
}

fn put(engine: &SledEngine, rows: Rows) -> Result<(), StorageError> {
    let writes = rows.into_iter().map(|(key, value)| (key, Some(value))).collect();
    engine.apply(Batch { writes, ..Batch::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    const CACHE: u64 = 8 * 1024 * 1024;

    fn open(folder: &Path) -> Generations {
        Generations::open(folder, CACHE).unwrap()
    }

    fn write(store: &Generations, rows: impl IntoIterator<Item = (u16, Option<u8>)>) {
        let row = |(key, value): (u16, Option<u8>)| (key.to_be_bytes().to_vec(), value.map(|value| vec![value; 1000]));
        store.apply(Batch { writes: rows.into_iter().map(row).collect(), ..Batch::default() }).unwrap();
        store.sync().unwrap();
    }

    fn rows(store: &Generations) -> Rows {
        store.scan(&[], None, usize::MAX).unwrap()
    }

    fn overwritten(store: &Generations) {
        for round in 0..40 {
            write(store, (0..400).map(|key| (key, Some(round))));
        }
    }

    #[test]
    fn a_compacted_store_has_its_rows_in_less_space_now_and_after_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        overwritten(&store);
        let wanted = rows(&store);
        let (before, after) = store.compact(|| true).unwrap().unwrap();
        assert!(after < before / 2, "{before} bytes before, {after} after");
        assert!(rows(&store) == wanted);
        write(&store, [(1, None), (2, Some(7)), (1000, Some(8))]);
        assert!(store.compact(|| true).unwrap().is_some());
        let wanted = rows(&store);
        drop(store);
        let store = open(folder.path());
        assert!(rows(&store) == wanted);
        assert!(store.size().unwrap() < before / 2);
        let folders = fs::read_dir(folder.path()).unwrap().filter(|it| it.as_ref().unwrap().path().is_dir()).count();
        assert_eq!(folders, 1, "older generations are gone");
    }

    #[test]
    fn what_is_written_while_the_store_is_compacted_is_in_the_new_generation() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        write(&store, (0..5000).map(|key| (key, Some(1))));
        let (mut rng, mut written) = (StdRng::seed_from_u64(1), BTreeMap::new());
        let done = store.compact(|| {
            let some: Vec<_> =
                (0..500).map(|_| (rng.random_range(0..6000), rng.random::<bool>().then(|| rng.random()))).collect();
            written.extend(some.iter().copied());
            write(&store, some);
            true
        });
        assert!(done.unwrap().is_some());
        for key in 0..6000 {
            let wanted = written.get(&key).copied().unwrap_or((key < 5000).then_some(1));
            assert_eq!(store.get(&key.to_be_bytes()).unwrap(), wanted.map(|value| vec![value; 1000]), "{key}");
        }
    }

    #[test]
    fn a_compaction_that_is_ended_or_cut_short_leaves_the_store_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        write(&store, (0..3000).map(|key| (key, Some(1))));
        assert_eq!(store.compact(|| false).unwrap(), None);
        let wanted = rows(&store);
        // A crash leaves the next generation where it was.
        let (_, half) = store.next().unwrap();
        put(&half, vec![(vec![9; 9], vec![9])]).unwrap();
        half.sync().unwrap();
        drop((half, store));
        let store = open(folder.path());
        assert!(rows(&store) == wanted);
        store.remove_others().unwrap();
        assert!(!folder.path().join("generation-1").exists());
    }

    #[test]
    fn a_panic_ends_a_compaction_and_nothing_is_remembered_any_longer() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        write(&store, [(1, Some(1))]);
        let panicked = catch_unwind(AssertUnwindSafe(|| store.compact(|| panic!("as sled does at some damage"))));
        assert!(panicked.is_err() && store.written().is_none());
        assert!(store.compact(|| true).unwrap().is_some());
    }

    #[test]
    fn a_generation_that_cannot_be_named_is_removed_and_the_store_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        write(&store, [(1, Some(1))]);
        fs::create_dir(folder.path().join("generation.part")).unwrap();
        assert!(store.compact(|| true).is_err());
        write(&store, [(2, Some(2))]);
        assert!(!folder.path().join("generation-1").exists());
        drop(store);
        assert_eq!(rows(&open(folder.path())).len(), 2);
    }

    #[test]
    fn a_store_whose_name_or_generation_is_gone_is_refused_and_nothing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        write(&store, [(1, Some(1))]);
        store.compact(|| true).unwrap();
        drop(store);
        let name = folder.path().join("generation");
        let refused = || matches!(Generations::open(folder.path(), CACHE), Err(StorageError::Generation { .. }));
        fs::write(&name, "2\n").unwrap();
        assert!(refused());
        fs::write(&name, "one").unwrap();
        assert!(Generations::open(folder.path(), CACHE).is_err());
        fs::remove_file(&name).unwrap();
        assert!(refused());
        fs::write(&name, "1\n").unwrap();
        assert_eq!(rows(&open(folder.path())).len(), 1);
    }

    #[test]
    fn the_bytes_of_all_rows_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        write(&store, (0..2500).map(|key| (key, Some(1))));
        assert_eq!(store.used(|| true).unwrap(), Some(2500 * 1002));
        assert_eq!(store.used(|| false).unwrap(), None);
    }
}
