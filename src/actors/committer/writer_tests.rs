use super::*;
use crate::actors::committer::rows::{EventRow, decode_delivery, encode_delivery};
use crate::actors::testing::CountingEngine;
use crate::base::ids::EventId;
use crate::base::time::Timestamp;
use crate::storage::{Changes, NewEvent};
use crate::webhook::{Delivery, DeliveryStatus};

fn event(kind: &'static str) -> NewEvent {
    let (account, chat) = ("support".to_owned(), "chat".to_owned());
    NewEvent { id: EventId::new("evt_1"), at: Timestamp(7), kind, account, chat, body: "{}".to_owned() }
}

#[test]
fn event_and_delivery_rows_match_the_golden_files() {
    let row = EventRow::encode(&event("message.received"));
    crate::golden::check("event-v2.hex", &row);
    let decoded = EventRow::decode(&row).unwrap();
    assert_eq!((decoded.at, decoded.kind.as_str(), decoded.body.as_str()), (Timestamp(7), "message.received", "{}"));
    let delivery = Delivery {
        event: "evt_1".into(),
        account: AccountKey::from_bytes([0x80; 16]),
        chat: "chat".into(),
        failed: 2,
        next_at: Timestamp(3),
        status: DeliveryStatus::Pending,
        last_error: Some("500".into()),
    };
    let stored = encode_delivery(&delivery);
    crate::golden::check("delivery-v1.json", &stored[1..]);
    assert_eq!(decode_delivery(&stored), Some(delivery));
}

fn open() -> (Store, Arc<CountingEngine>, mpsc::UnboundedReceiver<NewDelivery>) {
    let engine = Arc::new(CountingEngine::default());
    let (store, deliveries) =
        open_store(Records::new(engine.clone()), Arc::new(crate::base::hooks::NoHooks), Arc::default()).unwrap();
    (store, engine, deliveries)
}

fn changes() -> Changes {
    Changes { writes: Vec::new(), events: vec![event("message.received")] }
}

const ACCOUNT: AccountKey = AccountKey::from_bytes([0x80; 16]);

#[actix_web::test]
async fn acknowledged_commits_are_synced_and_events_get_consecutive_positions() {
    let (store, engine, _) = open();
    for turn in 1..=3 {
        store.commit(ACCOUNT, Generation(1), changes()).await.unwrap();
        assert_eq!(engine.syncs(), turn);
    }
    let rows = store.records.scan(ACCOUNT, kind::EVENT, &[], None, 10).unwrap();
    let positions: Vec<u64> =
        rows.iter().map(|(key, _)| u64::from_be_bytes(key.as_slice().try_into().unwrap())).collect();
    assert_eq!(positions, [1, 2, 3]);
}

#[actix_web::test]
async fn concurrent_turns_share_a_sync() {
    let (store, engine, _) = open();
    let turns: Vec<_> = (0..100).map(|_| store.commit(ACCOUNT, Generation(1), changes())).collect();
    for turn in turns {
        turn.await.unwrap();
    }
    assert!(engine.syncs() < 100);
}

#[actix_web::test]
async fn commit_of_an_older_tree_is_fenced_off() {
    let (store, ..) = open();
    store.begin(ACCOUNT, Generation(2)).await.unwrap();
    let late = store.commit(ACCOUNT, Generation(1), changes()).await;
    assert!(matches!(late, Err(StorageError::Fenced)), "{late:?}");
    store.commit(ACCOUNT, Generation(2), changes()).await.unwrap();
}

#[actix_web::test]
async fn no_commit_is_acknowledged_after_a_failed_write() {
    let (store, engine, _) = open();
    engine.fail_writes(true);
    assert!(store.commit(ACCOUNT, Generation(1), changes()).await.is_err());
    engine.fail_writes(false);
    let later = store.commit(ACCOUNT, Generation(1), changes()).await;
    assert!(matches!(later, Err(StorageError::Stopped)), "{later:?}");
    store.stopped().await;
    assert!(!store.is_writing(), "the server is not ready any more");
}
