//! Backup of a running server and its restore; migration at startup; compaction.

use crate::served::{Client, KEY, config, until};
use serde_json::json;
use std::path::Path;
use wharf::app::{AppError, Parts, Running, Sandbox, start, start_sandbox};
use wharf::base::ids::AccountId;
use wharf::base::time::{Clock, SystemClock};
use wharf::config::Config;
use wharf::operate::{self, OperateError};
use wharf::storage::{Batch, Engine, MasterKey, SledEngine, StorageError, begin_restore, folder_size};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CAROL: &str = "15550003333";

pub struct It {
    pub folder: tempfile::TempDir,
    sandbox: Sandbox,
    pub config: Config,
}

impl It {
    pub fn new() -> Self {
        let (folder, sandbox) = (tempfile::tempdir().unwrap(), start_sandbox("127.0.0.1:0").unwrap());
        let mut config = config(&sandbox);
        config.data = folder.path().join("data").display().to_string();
        Self { folder, sandbox, config }
    }

    pub async fn start(&self) -> (Running, Client) {
        let running = start(&self.config, Parts { admin_key: Some(KEY.into()), ..Parts::default() }).await.unwrap();
        let client = Client::new(format!("http://{}", running.address), format!("http://{}", self.sandbox.address));
        (running, client)
    }

    /// The same settings and master key, with another data folder.
    fn elsewhere(&self, name: &str) -> Config {
        let mut config = self.config.clone();
        config.storage.master_key_file = Some(self.config.master_key_file());
        config.storage.mark_file = None;
        config.data = self.folder.path().join(name).display().to_string();
        config
    }
}

pub async fn download(client: &Client, path: &str, to: &Path) {
    let answer = client.try_send(client.request("GET", path)).await.unwrap();
    assert_eq!(answer.status, 200);
    std::fs::write(to, answer.bytes).unwrap();
}

pub async fn send(client: &Client, account: &str, to: &str, body: &str) {
    assert_eq!(client.try_send(client.text(account, to, body)).await.unwrap().status, 202);
    until("it is read", async || client.read(to).await.contains(&body.to_owned()).then_some(())).await;
}

#[actix_web::test]
async fn a_running_server_is_backed_up_and_restored_elsewhere() {
    let mut it = It::new();
    let (running, client) = it.start().await;
    client.linked("alice", ALICE).await;
    client.phone(CAROL).await;
    send(&client, "alice", CAROL, "before").await;
    let cursor = client.get("/v1/events?limit=1").await["next"].as_str().unwrap().to_owned();
    let file = it.folder.path().join("wharf.backup");
    download(&client, "/v1/admin/backup", &file).await;
    send(&client, "alice", CAROL, "after the backup").await;
    running.stop().await.unwrap();

    let restored = it.elsewhere("restored");
    let wrong =
        operate::restore(&restored, MasterKey::parse(&"5a".repeat(32)), None, &file, SystemClock::start().now());
    assert!(matches!(wrong, Err(AppError::Storage(StorageError::WrongMasterKey { .. }))), "{wrong:?}");
    let done = operate::restore(&restored, None, None, &file, SystemClock::start().now()).unwrap();
    assert!(done.manifest.whole && done.sessions >= 2, "{done:?}");
    it.config = restored;
    let (running, client) = it.start().await;
    client.online("alice").await;
    send(&client, "alice", CAROL, "after the restore").await;
    assert_eq!(client.read(CAROL).await, ["before", "after the backup", "after the restore"]);
    let old = client.try_send(client.request("GET", &format!("/v1/events?after={cursor}"))).await.unwrap();
    assert_eq!((old.status, old.json()["code"].as_str()), (410, Some("cursor_expired")), "another log");
    assert!(!client.events("alice", "message.status").await.is_empty(), "the log came with it");
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn one_account_is_restored_into_a_server_with_others() {
    let mut it = It::new();
    let (running, client) = it.start().await;
    client.linked("alice", ALICE).await;
    client.linked("bob", BOB).await;
    client.phone(CAROL).await;
    send(&client, "alice", CAROL, "from alice").await;
    let file = it.folder.path().join("alice.backup");
    download(&client, "/v1/admin/backup?account=alice", &file).await;
    let unknown = client.try_send(client.request("GET", "/v1/admin/backup?account=nobody")).await.unwrap();
    assert_eq!(unknown.status, 404);
    running.stop().await.unwrap();

    let alice = AccountId::parse("alice").unwrap();
    let exists = operate::restore(&it.config, None, Some(&alice), &file, SystemClock::start().now());
    assert!(matches!(exists, Err(AppError::Operate(OperateError::AccountExists(_)))), "{exists:?}");
    let whole = operate::restore(&it.elsewhere("whole"), None, None, &file, SystemClock::start().now());
    assert!(matches!(whole, Err(AppError::Operate(OperateError::NotWhole))), "{whole:?}");

    // Another server under the same master key, with one account.
    it.config = it.elsewhere("other");
    std::fs::create_dir_all(&it.config.data).unwrap();
    let (running, client) = it.start().await;
    client.linked("carol", CAROL).await;
    running.stop().await.unwrap();
    operate::restore(&it.config, None, Some(&alice), &file, SystemClock::start().now()).unwrap();
    let (running, client) = it.start().await;
    client.online("alice").await;
    client.online("carol").await;
    send(&client, "alice", CAROL, "from another server").await;
    let names: Vec<_> = client.get("/v1/accounts").await["data"].as_array().unwrap().clone();
    assert_eq!(names.len(), 2);
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn an_interrupted_restore_can_be_neither_started_nor_restored_into() {
    let mut it = It::new();
    let (running, client) = it.start().await;
    client.linked("alice", ALICE).await;
    let file = it.folder.path().join("wharf.backup");
    download(&client, "/v1/admin/backup", &file).await;
    running.stop().await.unwrap();
    it.config = it.elsewhere("half");
    begin_restore(&SledEngine::open(Path::new(&it.config.data), 1 << 23).unwrap()).unwrap();
    let again = operate::restore(&it.config, None, None, &file, SystemClock::start().now());
    assert!(matches!(again, Err(AppError::Operate(OperateError::HalfRestored { .. }))), "{again:?}");
    let started = start(&it.config, Parts { admin_key: Some(KEY.into()), ..Parts::default() }).await;
    assert!(matches!(started.err(), Some(AppError::Operate(OperateError::HalfRestored { .. }))));
}

/// A server of this build with the data of format 2 from `migrations/`.
#[actix_web::test]
async fn a_server_migrates_older_data_at_startup_and_keeps_a_backup() {
    let mut it = It::new();
    it.config.storage.seal = false;
    let before = include_str!("../../migrations/0003-times/before.txt");
    {
        let engine = SledEngine::open(Path::new(&it.config.data), 1 << 23).unwrap();
        let row = |line: &str| {
            let (key, value) = line.split_once(' ').unwrap();
            (hex(key), Some(hex(value)))
        };
        engine.apply(Batch { writes: before.lines().map(row).collect(), ..Batch::default() }).unwrap();
        engine.sync().unwrap();
    }
    let planned = operate::plan_migration(&it.config, None).unwrap();
    assert_eq!(planned.iter().map(|step| step.name).collect::<Vec<_>>(), ["0003-times"]);
    let (running, client) = it.start().await;
    let received = client.events("alice", "message.received").await;
    assert_eq!(received[0]["text"]["body"], "in");
    let body = json!({ "url": "http://127.0.0.1:9/", "events": ["message.received"] });
    assert_eq!(client.get("/v1/webhooks").await["data"].as_array().unwrap().len(), 1);
    assert_eq!(client.post("/v1/webhooks", body).await.status, 201, "the server writes as ever");
    running.stop().await.unwrap();

    let backup = it.folder.path().join("data.before-0003-times.backup");
    let (manifest, extent) = operate::verify(&backup).unwrap();
    assert_eq!((manifest.data_format, extent.rows as usize), (2, before.lines().count()));
    assert_eq!(operate::plan_migration(&it.config, None).unwrap(), []);
    // Rollback: the backup holds the old data, which the restore migrates again.
    it.config = it.elsewhere("back");
    it.config.storage.seal = false;
    operate::restore(&it.config, None, None, &backup, SystemClock::start().now()).unwrap();
    let (running, client) = it.start().await;
    assert_eq!(client.events("alice", "message.received").await.len(), 1);
    running.stop().await.unwrap();
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

#[test]
fn compaction_frees_the_space_of_overwritten_rows_and_keeps_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { data: folder.path().join("data").display().to_string(), ..Config::default() };
    let wanted = {
        let engine = operate::open_engine(&config).unwrap();
        for round in 0..60u8 {
            let row = |n: u16| (n.to_be_bytes().to_vec(), Some(vec![round; 1000]));
            engine.apply(Batch { writes: (0..200).map(row).collect(), ..Batch::default() }).unwrap();
            engine.sync().unwrap();
        }
        engine.scan(&[], None, usize::MAX).unwrap()
    };
    let (before, after) = operate::compact(&config).unwrap();
    assert!(after < before / 2, "{before} bytes before, {after} after");
    assert!(operate::open_engine(&config).unwrap().scan(&[], None, usize::MAX).unwrap() == wanted);
}

#[actix_web::test]
async fn a_store_of_which_little_is_in_use_is_compacted_while_the_server_runs() {
    let mut it = It::new();
    it.start().await.0.stop().await.unwrap();
    {
        let engine = operate::open_engine(&it.config).unwrap();
        for round in 0..60u8 {
            let row = |n: u8| ([&[0xff; 16][..], &[0x01, n]].concat(), Some(vec![round; 10_000]));
            engine.apply(Batch { writes: (0..200).map(row).collect(), ..Batch::default() }).unwrap();
            engine.sync().unwrap();
        }
    }
    let size = |data: &str| folder_size(Path::new(data)).unwrap();
    let before = size(&it.config.data);
    (it.config.storage.compact_seconds, it.config.storage.compact_from_mib) = (1, 1);
    let (running, client) = it.start().await;
    until("the store is compacted", async || (size(&it.config.data) < before / 2).then_some(())).await;
    client.linked("alice", ALICE).await;
    client.phone(BOB).await;
    send(&client, "alice", BOB, "after it").await;
    running.stop().await.unwrap();
    assert!(operate::open_engine(&it.config).unwrap().get(&[&[0xff; 16][..], &[0x01, 7]].concat()).unwrap().is_some());
}
