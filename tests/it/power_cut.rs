//! Power cuts, slow syncs and failed writes, with an engine that behaves as a disk may.

use crate::served::{Client, KEY, MASTER_KEY, Served, config, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use wharf::app::{Parts, start, start_sandbox};
use wharf::base::ids::AccountKey;
use wharf::storage::{Batch, Engine, MasterKey, MemoryEngine, Row, Rows, SledEngine, StorageError};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

/// Applied batches are readable at once, as on a running machine; only a sync moves them to the disk.
#[derive(Default)]
struct Disk {
    cached: MemoryEngine,
    platter: MemoryEngine,
    unsynced: Mutex<VecDeque<Batch>>,
    syncs: AtomicUsize,
    /// Syncs block while this is closed.
    closed: Mutex<bool>,
    opened: Condvar,
    is_off: AtomicBool,
}

impl Disk {
    fn close(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }

    /// Cuts the power: a prefix of the unsynced batches may have reached the disk. Returns the disk's content.
    fn cut(&self, rng: &mut StdRng) -> Self {
        self.is_off.store(true, Ordering::SeqCst);
        self.close(false);
        let mut unsynced = self.unsynced.lock().unwrap();
        let lucky = rng.random_range(0..=unsynced.len());
        unsynced.drain(..lucky).for_each(|batch| self.platter.apply(batch).unwrap());
        let found = Self::default();
        let rows = self.platter.scan(&[], None, usize::MAX).unwrap();
        for engine in [&found.cached, &found.platter] {
            let writes = rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
            engine.apply(Batch { writes, ..Batch::default() }).unwrap();
        }
        found
    }

    fn check(&self) -> Result<(), StorageError> {
        match self.is_off.load(Ordering::SeqCst) {
            true => Err(StorageError::Engine { action: "write", why: "the power is off".into() }),
            false => Ok(()),
        }
    }
}

impl Engine for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.cached.get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        self.cached.scan(prefix, after, limit)
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        self.cached.last(prefix)
    }
    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError> {
        self.cached.copy(prefix)
    }
    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        self.cached.fence(account, epoch)
    }
    fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        self.check()?;
        self.unsynced.lock().unwrap().push_back(Batch { writes: batch.writes.clone(), ..Batch::default() });
        self.cached.apply(batch)
    }
    fn sync(&self) -> Result<(), StorageError> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        drop(self.opened.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
        self.check()?;
        let mut unsynced = self.unsynced.lock().unwrap();
        unsynced.drain(..).try_for_each(|batch| self.platter.apply(batch))
    }
}

#[actix_web::test]
async fn answers_and_stanzas_wait_for_the_sync_of_their_commit() {
    let disk = Arc::new(Disk::default());
    let it = Served::with(Parts { engine: Some(disk.clone()), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    let before = disk.syncs.load(Ordering::SeqCst);
    disk.close(true);
    let (client, answered) = (it.client.clone(), Arc::new(AtomicBool::new(false)));
    let sending = actix_web::rt::spawn({
        let answered = answered.clone();
        async move {
            let answer = client.try_send(client.text("alice", BOB, "slow")).await.unwrap();
            answered.store(true, Ordering::SeqCst);
            answer.status
        }
    });
    until("the sync is under way", async || (disk.syncs.load(Ordering::SeqCst) > before).then_some(())).await;
    // Another request is answered meanwhile, so this one could have been.
    it.client.get("/v1/accounts").await;
    assert!(!answered.load(Ordering::SeqCst), "accepted before it was durable");
    assert_eq!(it.client.read(BOB).await, Vec::<String>::new(), "sent before it was durable");
    disk.close(false);
    assert_eq!(sending.await.unwrap(), 202);
    until("it arrives", async || (it.client.read(BOB).await == ["slow"]).then_some(())).await;
}

#[actix_web::test]
async fn power_cut_before_a_sync_loses_no_accepted_message() {
    let mut rng = StdRng::seed_from_u64(3);
    let sandbox = start_sandbox("127.0.0.1:0").unwrap();
    let (mut disk, mut accepted) = (Arc::new(Disk::default()), Vec::new());
    for round in 0..8 {
        let parts = Parts {
            engine: Some(disk.clone()),
            admin_key: Some(KEY.into()),
            master_key: MasterKey::parse(MASTER_KEY),
            ..Parts::default()
        };
        let running = start(&config(&sandbox), parts).await.unwrap();
        let client = Client::new(format!("http://{}", running.address), format!("http://{}", sandbox.address));
        match round {
            0 => {
                client.linked("alice", ALICE).await;
                client.phone(BOB).await;
            }
            _ => client.online("alice").await,
        }
        let sending: Vec<_> = (0..20)
            .map(|number| {
                let (client, text) = (client.clone(), format!("{round}.{number}"));
                actix_web::rt::spawn(async move {
                    let answer = client.try_send(client.text("alice", BOB, &text)).await;
                    answer.is_ok_and(|answer| answer.status == 202).then_some(text)
                })
            })
            .collect();
        let enough = disk.syncs.load(Ordering::SeqCst) + rng.random_range(1..6);
        until("some syncs later", async || (disk.syncs.load(Ordering::SeqCst) >= enough).then_some(())).await;
        let found = disk.cut(&mut rng);
        for request in sending {
            accepted.extend(request.await.unwrap());
        }
        running.failed().await;
        // The rest of the old server can no longer write.
        let _ = running.stop().await;
        disk = Arc::new(found);
    }
    let parts = Parts {
        engine: Some(disk),
        admin_key: Some(KEY.into()),
        master_key: MasterKey::parse(MASTER_KEY),
        ..Parts::default()
    };
    let running = start(&config(&sandbox), parts).await.unwrap();
    let client = Client::new(format!("http://{}", running.address), format!("http://{}", sandbox.address));
    client.online("alice").await;
    assert!(accepted.len() >= 8, "the stream was real: {}", accepted.len());
    client.all_read_once(BOB, &accepted).await;
    drop(running);
}

#[actix_web::test]
async fn requests_beyond_an_accounts_queue_are_rejected_and_accepted_ones_are_sent() {
    let disk = Arc::new(Disk::default());
    let it = Served::with(Parts { engine: Some(disk.clone()), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    disk.close(true);
    let mut sending: Vec<_> = (0..1200)
        .map(|number| {
            let client = it.client.clone();
            actix_web::rt::spawn(async move {
                let text = number.to_string();
                let answer = client.text("alice", BOB, &text).send().await.unwrap();
                let retry_after = answer.headers().contains_key("retry-after");
                (text, answer.status().as_u16(), retry_after)
            })
        })
        .collect();
    let (first, at, _) = futures_util::future::select_all(&mut sending).await;
    let (_, status, retry_after) = first.unwrap();
    assert_eq!((status, retry_after), (429, true), "what cannot be held is refused at once");
    drop(sending.remove(at));
    disk.close(false);
    let mut taken = Vec::new();
    for request in sending {
        let (text, status, _) = request.await.unwrap();
        assert!(matches!(status, 202 | 429), "{status}");
        taken.extend((status == 202).then_some(text));
    }
    assert!(taken.len() > 500, "{}", taken.len());
    until("all that were taken are read", async || {
        let read = it.client.read(BOB).await;
        taken.iter().all(|text| read.contains(text)).then_some(())
    })
    .await;
}

/// A batch of sled is complete or absent, wherever its log was torn.
#[test]
fn a_torn_log_ends_between_two_batches() {
    let folder = tempfile::tempdir().unwrap();
    const CACHE: u64 = 8 * 1024 * 1024;
    let row = |round: u8, n: u8| (vec![n], Some(vec![round; 200]));
    {
        let engine = SledEngine::open(folder.path(), CACHE).unwrap();
        for round in 1..=40 {
            engine.apply(Batch { writes: (0..8).map(|n| row(round, n)).collect(), ..Batch::default() }).unwrap();
            engine.sync().unwrap();
        }
    }
    let log = std::fs::read(folder.path().join("db")).unwrap();
    let end = log.iter().rposition(|byte| *byte != 0).unwrap();
    let mut rng = StdRng::seed_from_u64(4);
    let mut rounds_found = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let torn = tempfile::tempdir().unwrap();
        std::fs::copy(folder.path().join("conf"), torn.path().join("conf")).unwrap();
        let mut bytes = log.clone();
        let at = rng.random_range(end / 2..end);
        bytes[at..].fill(0);
        std::fs::write(torn.path().join("db"), bytes).unwrap();
        let engine = SledEngine::open(torn.path(), CACHE).unwrap();
        let found: std::collections::BTreeSet<_> =
            (0..8).map(|n| engine.get(&[n]).unwrap().map(|value| value[0])).collect();
        assert_eq!(found.len(), 1, "a batch is there in part: {found:?}");
        rounds_found.extend(found);
    }
    assert!(rounds_found.len() > 3, "torn at different places: {rounds_found:?}");
}
