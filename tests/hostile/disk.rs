//! A disk that forgets: flipped bits, a store that is cut off, an older copy of the folder.

use crate::backup::{It, download, send};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use wharf::app::{AppError, Parts, start};
use wharf::base::time::{Clock, SystemClock, Timestamp};
use wharf::operate::{self, OperateError};
use wharf::storage::{Batch, Engine, Marked, SledEngine, StorageError};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CACHE: u64 = 1 << 23;

fn now() -> Timestamp {
    SystemClock::start().now()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

async fn refusal(it: &It) -> String {
    let refused = start(&it.config, Parts::default()).await.err().unwrap();
    assert!(matches!(refused, AppError::Storage(StorageError::Behind { .. })), "{refused}");
    refused.to_string()
}

#[actix_web::test]
async fn an_older_copy_of_the_folder_is_refused_until_its_loss_is_accepted() {
    let it = It::new();
    let (data, copy) = (Path::new(&it.config.data).to_owned(), it.folder.path().join("copy"));
    let (running, client) = it.start().await;
    client.linked("alice", ALICE).await;
    client.phone(BOB).await;
    send(&client, "alice", BOB, "before").await;
    running.stop().await.unwrap();
    copy_folder(&data, &copy);
    let (running, client) = it.start().await;
    client.online("alice").await;
    send(&client, "alice", BOB, "forgotten").await;
    running.stop().await.unwrap();
    fs::remove_dir_all(&data).unwrap();
    copy_folder(&copy, &data);

    let told = refusal(&it).await;
    assert!(told.contains("wharf restore") && told.contains("wharf storage accept-loss"), "{told}");
    let (accounts, sessions) = operate::accept_loss(&it.config, None, now()).unwrap();
    assert!(accounts == 1 && sessions > 0, "{accounts} {sessions}");
    let again = operate::accept_loss(&it.config, None, now());
    assert!(matches!(again, Err(AppError::Operate(OperateError::NothingLost { .. }))), "{again:?}");
    let (running, client) = it.start().await;
    client.online("alice").await;
    send(&client, "alice", BOB, "after").await;
    assert_eq!(client.read(BOB).await, ["before", "forgotten", "after"]);
    running.stop().await.unwrap();
    let (running, _) = it.start().await;
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_store_that_is_cut_off_or_gone_is_refused_and_a_backup_brings_it_back() {
    let it = It::new();
    let (data, copy) = (Path::new(&it.config.data).to_owned(), it.folder.path().join("copy"));
    let (running, client) = it.start().await;
    client.linked("alice", ALICE).await;
    client.phone(BOB).await;
    let backup = it.folder.path().join("wharf.backup");
    download(&client, "/v1/admin/backup", &backup).await;
    running.stop().await.unwrap();
    copy_folder(&data, &copy);
    let whole = fs::metadata(data.join("db")).unwrap().len();
    for length in [whole / 2, 4096, 0] {
        fs::remove_dir_all(&data).unwrap();
        copy_folder(&copy, &data);
        snapshots(&data).iter().for_each(|snapshot| fs::remove_file(snapshot).unwrap());
        fs::File::options().write(true).open(data.join("db")).unwrap().set_len(length).unwrap();
        refusal(&it).await;
    }
    fs::remove_dir_all(&data).unwrap();
    refusal(&it).await;
    operate::restore(&it.config, None, None, &backup, now()).unwrap();
    let (running, client) = it.start().await;
    client.online("alice").await;
    send(&client, "alice", BOB, "after the restore").await;
    running.stop().await.unwrap();
}

fn snapshots(folder: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snap.")).collect()
}

/// What is read is what was written, or the store is refused, or an error names the damage: never silence.
#[test]
fn a_flipped_bit_loses_nothing_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let (data, mark) = (folder.path().join("data"), folder.path().join("mark"));
    let mut rng = StdRng::seed_from_u64(1);
    let engine = Marked::open(SledEngine::open(&data, CACHE).unwrap(), &mark, &mut rng).unwrap();
    let row = |commit: u32| (commit.to_be_bytes().to_vec(), vec![commit as u8; 300]);
    for commit in 0..800 {
        let (key, value) = row(commit);
        engine.apply(Batch { writes: [(key, Some(value))].into(), ..Batch::default() }).unwrap();
        engine.sync().unwrap();
    }
    drop(engine);
    let mut refused = 0;
    for flip in 0..40 {
        let (found, its_mark) = (folder.path().join(format!("{flip}")), folder.path().join(format!("{flip}.mark")));
        copy_folder(&data, &found);
        fs::copy(&mark, &its_mark).unwrap();
        snapshots(&found).iter().for_each(|snapshot| fs::remove_file(snapshot).unwrap());
        let mut bytes = fs::read(found.join("db")).unwrap();
        let at = rng.random_range(0..bytes.len());
        // The first copy is as it was.
        bytes[at] ^= if flip == 0 { 0 } else { 1 << rng.random_range(0..8) };
        fs::write(found.join("db"), bytes).unwrap();
        // sled panics at some damage.
        let read = catch_unwind(AssertUnwindSafe(|| {
            let engine = SledEngine::open(&found, CACHE).map(|it| Marked::open(it, &its_mark, &mut rng));
            engine.and_then(|it| it?.scan(&[], None, usize::MAX))
        }));
        match read {
            Ok(Ok(rows)) => assert_eq!(rows, (0..800).map(row).collect::<Vec<_>>(), "flip at {at}"),
            _ => refused += 1,
        }
        assert!(flip > 0 || refused == 0, "the whole store is refused");
    }
    assert!(refused > 0);
}
