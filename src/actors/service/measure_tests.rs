use super::*;
use crate::actors::committer::rows::NewDelivery;
use crate::actors::open_store;
use crate::actors::testing::CountingEngine;
use crate::base::hooks::NoHooks;
use crate::base::ids::{EndpointId, EventId, Generation};
use crate::storage::{ChangeSet, Changes, NewEvent, Records, owner};
use crate::webhook::{Delivery, DeliveryStatus, Endpoint};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

const ACCOUNT: AccountKey = AccountKey::from_bytes([0x80; 16]);
const NOW: Timestamp = Timestamp(100_000);

fn open(engine: &Arc<CountingEngine>) -> (Store, UnboundedReceiver<NewDelivery>) {
    open_store(Records::new(engine.clone()), Arc::new(NoHooks), Arc::default()).unwrap()
}

/// An endpoint that wants every event.
async fn endpoint(store: &Store) {
    let endpoint = Endpoint {
        id: EndpointId::new("wh_1"),
        url: "http://127.0.0.1:1/".to_owned(),
        events: vec!["*".to_owned()],
        accounts: None,
        headers: Default::default(),
        secrets: Vec::new(),
        disabled: false,
        created_at: Timestamp(0),
    };
    let mut writes = ChangeSet::<owner::Server>::default();
    let json = serde_json::to_vec(&endpoint).unwrap();
    writes.put(kind::ENDPOINT, endpoint.id.as_str(), [&[1], &json[..]].concat());
    store.commit_server(writes).await.unwrap();
}

async fn events(store: &Store, times: &[u64]) {
    let event = |at: &u64| NewEvent {
        id: EventId::new(format!("evt_{at}")),
        at: Timestamp(*at),
        kind: "message.received",
        account: "support".to_owned(),
        chat: String::new(),
        body: "{}".to_owned(),
    };
    let changes = Changes { writes: Vec::new(), events: times.iter().map(event).collect() };
    store.commit(ACCOUNT, Generation(1), changes).await.unwrap();
}

/// Pending, dead, and the age of the oldest.
fn measure(store: &Store) -> (u64, u64, u64) {
    let mut measured = Measured::default();
    measure_deliveries(store, NOW, &mut measured).unwrap();
    (measured.pending, measured.dead, measured.oldest_seconds)
}

async fn settle(store: &Store, delivery: NewDelivery, status: Option<DeliveryStatus>) {
    let row = status.map(|status| Box::new(Delivery { status, failed: delivery.row.failed + 1, ..delivery.row }));
    store.delivery(delivery.endpoint, delivery.position, row).await.unwrap();
}

#[actix_web::test]
async fn deliveries_are_counted_as_they_are_settled_without_a_scan() {
    let engine = Arc::new(CountingEngine::default());
    let (store, mut new) = open(&engine);
    endpoint(&store).await;
    events(&store, &[10_000, 20_000, 30_000]).await;
    let _ = engine.take_scanned(kind::DELIVERY.code());
    assert_eq!(measure(&store), (3, 0, 90));
    settle(&store, new.recv().await.unwrap(), None).await;
    assert_eq!(measure(&store), (2, 0, 80));
    settle(&store, new.recv().await.unwrap(), Some(DeliveryStatus::Pending)).await;
    assert_eq!(measure(&store), (2, 0, 80), "a failed attempt is repeated");
    settle(&store, new.recv().await.unwrap(), Some(DeliveryStatus::Dead)).await;
    assert_eq!(measure(&store), (1, 1, 80));
    assert_eq!(engine.take_scanned(kind::DELIVERY.code()), 0, "rows read by measuring");
}

#[actix_web::test]
async fn counts_of_deliveries_survive_a_restart_and_follow_erasure() {
    let engine = Arc::new(CountingEngine::default());
    let (first, mut new) = open(&engine);
    endpoint(&first).await;
    events(&first, &[10_000, 20_000, 30_000]).await;
    settle(&first, new.recv().await.unwrap(), Some(DeliveryStatus::Dead)).await;
    first.stop().await.unwrap();
    let (second, mut new) = open(&engine);
    assert_eq!(measure(&second), (2, 1, 80));
    let erased = new.recv().await.unwrap();
    assert_eq!(erased.position, 2, "pending deliveries are handed out again, in order");
    second.sweep(Timestamp(25_000), NOW).await.unwrap();
    assert_eq!(measure(&second), (1, 0, 70));
    settle(&second, erased, None).await;
    assert_eq!(measure(&second), (1, 0, 70), "the outcome of an erased delivery counts for nothing");
    second.erase(ACCOUNT).await.unwrap();
    assert_eq!(measure(&second), (0, 0, 0));
}
