use super::*;
use crate::actors::open_store;
use crate::base::hooks::NoHooks;
use crate::base::ids::{EventId, Generation};
use crate::storage::{Changes, Engine, MemoryEngine, NewEvent, Records};
use std::sync::Arc;

const ACCOUNT: AccountKey = AccountKey::from_bytes([0x80; 16]);

fn store(engine: &Arc<MemoryEngine>) -> Store {
    open_store(Records::new(engine.clone()), Arc::new(NoHooks), Arc::default()).unwrap().0
}

async fn event(store: &Store, at: u64) {
    let (account, chat) = ("support".to_owned(), "chat".to_owned());
    let id = EventId::new(format!("evt_{at}"));
    let event = NewEvent { id, at: Timestamp(at), kind: "message.received", account, chat, body: "{}".to_owned() };
    let changes = Changes { writes: Vec::new(), events: vec![event] };
    store.commit(ACCOUNT, Generation(1), changes).await.unwrap();
}

fn times(store: &Store) -> Vec<u64> {
    let rows = store.records.scan(ACCOUNT, kind::EVENT, &[], None, 10_000).unwrap();
    rows.iter().map(|(_, row)| EventRow::decode(row).unwrap().at.0).collect()
}

#[actix_web::test]
async fn retention_deletes_events_and_their_index_rows() {
    let store = store(&Arc::default());
    for at in 0..1200 {
        event(&store, at).await;
    }
    assert_eq!(store.sweep(Timestamp(1100), Timestamp(1200)).await.unwrap(), 1100);
    assert_eq!(times(&store), (1100..1200).collect::<Vec<_>>());
    let index = store.records.scan(AccountKey::SERVER, kind::EVENT_INDEX, &[], None, 10_000).unwrap();
    assert_eq!(index.len(), 100);
    let start = store.records.get(AccountKey::SERVER, kind::META, LOG_START).unwrap();
    assert_eq!(start, Some(1101u64.to_be_bytes().to_vec()), "where the log begins now");
}

#[actix_web::test]
async fn positions_continue_after_all_events_expired() {
    let engine = Arc::new(MemoryEngine::default());
    let first = store(&engine);
    for at in 0..3 {
        event(&first, at).await;
    }
    first.sweep(Timestamp(100), Timestamp(100)).await.unwrap();
    first.stop().await.unwrap();
    let second = store(&engine);
    assert_eq!(*second.log_end.borrow(), 4, "no position is given twice");
    event(&second, 200).await;
    second.sweep(Timestamp(100), Timestamp(200)).await.unwrap();
    assert_eq!(times(&second), [200]);
}

#[actix_web::test]
async fn idempotent_answers_expire_after_a_day() {
    let engine = Arc::new(MemoryEngine::default());
    let store = store(&engine);
    let day = 24 * 60 * 60 * 1000;
    for (request, at) in [([1; 32], 0), ([2; 32], day)] {
        let remembered = crate::actors::IdempotentAnswer { request, answer: b"{}".to_vec(), at: Timestamp(at) };
        let mut writes = ChangeSet::<owner::Server>::default();
        crate::actors::committer::idempotency::put_answer(&mut writes, Some(remembered));
        store.commit_server(writes).await.unwrap();
    }
    assert_eq!(store.sweep(Timestamp(0), Timestamp(day)).await.unwrap(), 1);
    assert_eq!(engine.scan(&[], None, 10).unwrap().len(), 1);
}
