use super::*;
use crate::actors::open_store;
use crate::actors::testing::CountingEngine;
use crate::base::hooks::NoHooks;
use crate::base::ids::{EventId, Generation};
use crate::base::time::Timestamp;
use crate::storage::{Changes, NewEvent, Records};
use std::sync::Arc;

const BUSY: AccountKey = AccountKey::from_bytes([0x80; 16]);
const QUIET: AccountKey = AccountKey::from_bytes([0x90; 16]);

fn log() -> (EventLog, Arc<CountingEngine>) {
    let engine = Arc::new(CountingEngine::default());
    let (store, _) = open_store(Records::new(engine.clone()), Arc::new(NoHooks), Arc::default()).unwrap();
    (EventLog { store, epoch: "e".to_owned() }, engine)
}

async fn events(log: &EventLog, account: AccountKey, kind: &'static str, count: u64) {
    let event = |at: u64| NewEvent {
        id: EventId::new(format!("evt_{at}")),
        at: Timestamp(at),
        kind,
        account: "support".to_owned(),
        chat: String::new(),
        body: format!("{kind} {at}"),
    };
    let changes = Changes { writes: Vec::new(), events: (0..count).map(event).collect() };
    log.store.commit(account, Generation(1), changes).await.unwrap();
}

async fn page(log: &EventLog, after: Option<&str>, limit: usize, account: AccountKey) -> EventPage {
    log.page(after, limit, Some(account), None, Duration::ZERO).await.unwrap()
}

#[actix_web::test]
async fn filter_by_account_reads_only_that_accounts_range() {
    let (log, engine) = log();
    events(&log, QUIET, "a", 1).await;
    events(&log, BUSY, "b", 1000).await;
    events(&log, QUIET, "c", 1).await;
    let _ = (engine.take_scanned(kind::EVENT.code()), engine.take_scanned(kind::EVENT_INDEX.code()));
    let first = page(&log, None, 1, QUIET).await;
    assert_eq!(first.events, ["a 0"]);
    let second = page(&log, Some(&first.next), 10, QUIET).await;
    assert_eq!(second.events, ["c 0"]);
    assert_eq!(engine.take_scanned(kind::EVENT_INDEX.code()), 0);
    assert!(engine.take_scanned(kind::EVENT.code()) <= 4, "the other account's rows are not read");
}

#[actix_web::test]
async fn cursor_of_a_filtered_page_that_reached_the_end_covers_the_whole_log() {
    let (log, _) = log();
    events(&log, QUIET, "a", 1).await;
    events(&log, BUSY, "b", 5).await;
    assert_eq!(page(&log, None, 10, QUIET).await.next, "e-6");
    assert_eq!(page(&log, Some("e-6"), 10, QUIET).await.next, "e-6");
    assert_eq!(page(&log, None, 3, BUSY).await.next, "e-4", "a full page ends at its last event");
}

#[actix_web::test]
async fn events_that_are_not_yet_synced_are_not_shown() {
    let (mut log, _) = log();
    events(&log, QUIET, "a", 3).await;
    log.store.log_end = tokio::sync::watch::channel(2).1;
    for account in [None, Some(QUIET)] {
        let page = log.page(None, 10, account, None, Duration::ZERO).await.unwrap();
        assert_eq!((page.events.len(), page.next.as_str()), (1, "e-1"));
    }
}

#[actix_web::test]
async fn events_of_all_accounts_come_in_the_order_of_the_log() {
    let (log, _) = log();
    events(&log, QUIET, "a", 1).await;
    events(&log, BUSY, "b", 1).await;
    events(&log, QUIET, "c", 1).await;
    let all = log.page(None, 10, None, None, Duration::ZERO).await.unwrap();
    assert_eq!((all.events.len(), all.next.as_str()), (3, "e-3"));
    assert_eq!(all.events, ["a 0", "b 0", "c 0"]);
}

#[actix_web::test]
async fn page_that_has_read_its_share_of_rows_returns_without_waiting_for_new_events() {
    let (log, _) = log();
    events(&log, QUIET, "noise", MAX_SCAN as u64 + 1).await;
    events(&log, QUIET, "wanted", 1).await;
    let asked = log.page(None, 10, None, Some("wanted"), Duration::from_secs(3600));
    let first = tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap().unwrap();
    assert_eq!((first.events.len(), first.next.as_str()), (0, "e-20000"));
    let second = log.page(Some(&first.next), 10, None, Some("wanted"), Duration::ZERO).await.unwrap();
    assert_eq!(second.events, ["wanted 0"]);
}
