//! Conformance suite, which every engine passes. An engine's test hands over a way to open it; `reopen` simulates a restart where
//! the engine can survive one.

use super::StorageError;
use super::engine::{Batch, Engine};
use crate::base::ids::AccountKey;
use std::sync::Arc;

/// Opens the engine under test, again over the same data when called again.
pub type Open<'a> = &'a dyn Fn() -> Arc<dyn Engine>;

/// Runs the suite; panics at the first requirement that the engine fails.
#[expect(clippy::missing_panics_doc, clippy::panic, reason = "a test suite; panicking is how it reports")]
pub fn run(open: Open<'_>, survives_reopening: bool) {
    let check = |what: &str, holds: Result<bool, StorageError>| match holds {
        Ok(true) => {}
        Ok(false) => panic!("the engine breaks the contract: {what}"),
        Err(error) => panic!("the engine failed while checking that {what}: {error}"),
    };
    let put = |key: &[u8], value: &[u8]| (key.to_vec(), Some(value.to_vec()));

    let engine = open();
    let batch =
        |writes: Vec<(Vec<u8>, Option<Vec<u8>>)>| Batch { writes: writes.into_iter().collect(), ..Batch::default() };
    let first = batch(vec![put(b"a1", b"1"), put(b"a2", b"2"), put(b"b1", b"3")]);
    check("a batch is applied", engine.apply(first).and_then(|()| engine.sync()).map(|()| true));
    check("a key is written over", engine.apply(batch(vec![put(b"a1", b"4")])).map(|()| true));
    check("the last write to a key counts", engine.get(b"a1").map(|v| v.as_deref() == Some(b"4")));
    check("an absent key is none", engine.get(b"zz").map(|v| v.is_none()));
    let keys = |prefix: &[u8], after: Option<&[u8]>, limit| {
        engine.scan(prefix, after, limit).map(|rows| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
    };
    check("a scan keeps to its prefix, in order", keys(b"a", None, 9).map(|k| k == [b"a1", b"a2"]));
    check("a scan goes on after a key", keys(b"a", Some(b"a1"), 9).map(|k| k == [b"a2"]));
    check("a scan keeps to its limit", keys(b"", None, 2).map(|k| k == [b"a1", b"a2"]));
    check("a scan past the end is empty", keys(b"a", Some(b"a2"), 9).map(|k| k.is_empty()));
    check("the last row of a prefix is found", engine.last(b"a").map(|row| row.is_some_and(|(k, _)| k == b"a2")));
    let second = batch(vec![(b"a2".to_vec(), None), (b"zz".to_vec(), None)]);
    check("a delete is applied, of an absent key too", engine.apply(second).map(|()| true));
    check("a deleted key is gone", engine.get(b"a2").map(|v| v.is_none()));
    check("sync succeeds", engine.sync().map(|()| true));

    let account = AccountKey::from_bytes([7; 16]);
    let under = |epoch, value: &[u8]| Batch { epochs: [(account, epoch)].into(), ..batch(vec![put(b"f", value)]) };
    check("an epoch is set", engine.fence(account, 2).map(|()| true));
    check("the fence lets its own epoch write", engine.apply(under(2, b"new")).map(|()| true));
    let fenced = |result| matches!(result, Err(StorageError::Fenced));
    check("an older epoch writes nothing", Ok(fenced(engine.apply(under(1, b"old")))));
    check("what a fenced batch held is not there", engine.get(b"f").map(|v| v.as_deref() == Some(b"new")));
    check("a fence is never lowered", Ok(fenced(engine.fence(account, 1))));
    check_copies(&engine);

    drop(engine);
    if survives_reopening {
        let engine = open();
        check("synced data survive reopening", engine.get(b"b1").map(|v| v.as_deref() == Some(b"3")));
        check("a synced delete survives reopening", engine.get(b"a2").map(|v| v.is_none()));
    }
}

/// Copies an account again and again while another thread writes batches that make all its rows equal.
#[expect(clippy::panic, reason = "a test suite; panicking is how it reports")]
fn check_copies(engine: &Arc<dyn Engine>) {
    let (writer, rows) = (engine.clone(), 64u8);
    let batch = move |value: u8| Batch {
        writes: (0..rows).map(|row| (vec![b'c', row], Some(vec![value]))).collect(),
        ..Batch::default()
    };
    let writing = std::thread::spawn(move || (0..=200).try_for_each(|value| writer.apply(batch(value))));
    while !writing.is_finished() {
        match engine.copy(b"c") {
            Ok(copy) if copy.windows(2).all(|two| two[0].1 == two[1].1) => {}
            Ok(_) => panic!("the engine breaks the contract: a copy has a batch in part"),
            Err(error) => panic!("the engine failed while copying: {error}"),
        }
    }
    let complete = engine.copy(b"c").is_ok_and(|copy| copy.len() == usize::from(rows));
    assert!(complete && matches!(writing.join(), Ok(Ok(()))), "the engine breaks the contract: a copy is complete");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Compactor, Generations, Marked, MemoryEngine, Ringed, Schedule, SledEngine};
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::cell::RefCell;
    use std::time::Duration;

    #[test]
    fn the_memory_engine_conforms() {
        run(&|| Arc::new(MemoryEngine::default()), false);
    }

    #[test]
    fn the_sled_engine_conforms() {
        let folder = tempfile::tempdir().unwrap();
        run(&|| Arc::new(SledEngine::open(folder.path(), 8 * 1024 * 1024).unwrap()), true);
    }

    #[test]
    fn a_store_that_is_compacted_meanwhile_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let compactor = RefCell::new(None);
        let open = || -> Arc<dyn Engine> {
            compactor.take();
            let store = Arc::new(Generations::open(folder.path(), 8 * 1024 * 1024).unwrap());
            let always = Schedule { every: Duration::ZERO, from: 0 };
            *compactor.borrow_mut() = Some(Compactor::start(Arc::clone(&store), always, Arc::new(|| None)).unwrap());
            store
        };
        run(&open, true);
    }

    #[test]
    fn a_marked_engine_with_a_key_ring_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let store = || SledEngine::open(&folder.path().join("data"), 8 * 1024 * 1024).unwrap();
        let mark = folder.path().join("mark");
        let marked = || Marked::open(store(), &mark, &mut StdRng::seed_from_u64(1)).unwrap();
        run(&|| Arc::new(Ringed::open(marked(), folder.path()).unwrap()), true);
    }
}
