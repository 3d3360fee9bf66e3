//! Group commit on sled: `cargo bench --bench commit`. Turns of 1, 10, 100 and 1,000 accounts that are always active, each waiting for
//! its commit before the next turn, beside a bare append and `fdatasync` of the same bytes in the same run.

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wharf::actors::{Store, open_store};
use wharf::base::hooks::NoHooks;
use wharf::base::ids::{AccountKey, EventId, Generation};
use wharf::base::time::Timestamp;
use wharf::storage::{ChangeSet, Changes, Marked, MasterKey, NewEvent, Records, Sealing, SledEngine, kind, owner};

const RUN: Duration = Duration::from_secs(5);

/// The rows of a received message: a session's head, an inbox row, an event of half a kilobyte.
fn turn(number: u64) -> Changes {
    let mut sessions = ChangeSet::<owner::SessionCipher>::default();
    sessions.put(kind::SESSION, [&b"15550001111@c.us.0\0"[..], &[0]].concat(), vec![7; 700]);
    let mut inbox = ChangeSet::<owner::Frame>::default();
    inbox.put(kind::INBOX, number.to_be_bytes(), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut changes = Changes::default();
    changes.absorb(sessions);
    changes.absorb(inbox);
    changes.events.push(NewEvent {
        id: EventId::new("evt_000000000000000000000000"),
        at: Timestamp(number),
        kind: "message.received",
        account: "support".into(),
        chat: "15550002222@s.whatsapp.net".into(),
        body: "x".repeat(500),
    });
    changes
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() - 1) as f64 * share) as usize;
    sorted[at].as_secs_f64() * 1e3
}

/// An append of as many bytes as a turn writes, and `fdatasync`: p50 and p99 in milliseconds.
fn bare(folder: &Path) -> (f64, f64) {
    let mut file = File::create(folder.join("bare")).unwrap();
    let bytes = vec![7; 1600];
    let mut times: Vec<_> = (0..2000)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort();
    (percentile(&times, 0.5), percentile(&times, 0.99))
}

async fn active(store: Store, account: AccountKey, until: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        store.commit(account, Generation(1), turn(times.len() as u64)).await.unwrap();
        times.push(begun.elapsed());
    }
    times
}

#[actix_web::main]
async fn main() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bare = bare(folder.path());
    println!("bare append and fdatasync of 1,600 bytes: p50 {:.2} ms, p99 {:.2} ms", bare.0, bare.1);
    println!("| active accounts | commits/s | syncs per turn | p50, ms | p99, ms | p50 / bare | p99 / bare |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for accounts in [1u64, 10, 100, 1000] {
        let mut rng = StdRng::seed_from_u64(accounts);
        let engine = SledEngine::open(&folder.path().join(accounts.to_string()), 32 << 20).unwrap();
        let engine = Marked::open(engine, &folder.path().join(format!("{accounts}.mark")), &mut rng).unwrap();
        let sealing = Sealing::new(MasterKey::generate(&mut rng), StdRng::seed_from_u64(1));
        let records = Records::open(Arc::new(engine), Some(sealing)).unwrap();
        let metrics = Arc::default();
        let (store, _deliveries) = open_store(records, Arc::new(NoHooks), Arc::clone(&metrics)).unwrap();
        let begun = Instant::now();
        let tasks = (0..accounts).map(|_| {
            let account = AccountKey::generate(&mut rng);
            actix_web::rt::spawn(active(store.clone(), account, begun + RUN))
        });
        let mut times = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            times.extend(task.await.unwrap());
        }
        let elapsed = begun.elapsed().as_secs_f64();
        times.sort();
        let (p50, p99) = (percentile(&times, 0.5), percentile(&times, 0.99));
        let (turns, syncs) = wharf::actors::Metrics::turns_and_syncs(&metrics);
        println!(
            "| {accounts} | {:.0} | {:.3} | {p50:.2} | {p99:.2} | {:.1} | {:.1} |",
            times.len() as f64 / elapsed,
            syncs as f64 / turns as f64,
            p50 / bare.0,
            p99 / bare.1,
        );
        store.stop().await.unwrap();
    }
}
