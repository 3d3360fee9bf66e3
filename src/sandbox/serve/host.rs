//! The task that owns the world: requests in, time, outputs to the sockets.

use crate::base::time::Clock;
use crate::sandbox::world::{ConnectionId, Output, World};
use crate::storage::{Batch, Engine, StorageError};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Bytes for a socket; dropping the sender closes it.
pub(super) type ToSocket = mpsc::UnboundedSender<Vec<u8>>;

/// Sends a caller its answer.
type Tell = Box<dyn FnOnce() + Send>;

enum Request {
    Connected(ConnectionId, ToSocket),
    Received(ConnectionId, Vec<u8>),
    Closed(ConnectionId),
    /// Runs a request of a caller; the result sends its answer.
    Do(Box<dyn FnOnce(&mut World) -> Tell + Send>),
}

/// A handle of the task that owns the world.
#[derive(Clone)]
pub struct WorldHost {
    requests: mpsc::UnboundedSender<Request>,
    next: Arc<AtomicU64>,
}

impl WorldHost {
    /// Starts the task on the current arbiter. Changes are stored in `store`, if given, before any client is sent their
    /// outputs.
    pub fn start(world: World, clock: Arc<dyn Clock>, store: Option<Arc<dyn Engine>>) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        actix_web::rt::spawn(own(world, clock, store, receiver));
        Self { requests, next: Arc::new(AtomicU64::new(1)) }
    }

    pub(super) fn connect(&self) -> (ConnectionId, mpsc::UnboundedReceiver<Vec<u8>>) {
        let id = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let (socket, output) = mpsc::unbounded_channel();
        self.tell(Request::Connected(id, socket));
        (id, output)
    }

    pub(super) fn received(&self, id: ConnectionId, bytes: Vec<u8>) {
        self.tell(Request::Received(id, bytes));
    }

    pub(super) fn closed(&self, id: ConnectionId) {
        self.tell(Request::Closed(id));
    }

    /// Runs `ask` on the world; `None` when its task has ended.
    pub async fn with<R: Send + 'static>(&self, ask: impl FnOnce(&mut World) -> R + Send + 'static) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        self.tell(Request::Do(Box::new(move |world| {
            let result = ask(world);
            // A caller that has stopped waiting needs no answer.
            Box::new(move || drop(answer.send(result)))
        })));
        answered.await.ok()
    }

    fn tell(&self, request: Request) {
        if self.requests.send(request).is_err() {
            tracing::warn!("sandbox task has ended, request dropped");
        }
    }
}

/// Requests whose changes are stored together, before their outputs are sent.
const TURN: usize = 256;

async fn own(
    mut world: World,
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn Engine>>,
    mut requests: mpsc::UnboundedReceiver<Request>,
) {
    let mut sockets: HashMap<ConnectionId, ToSocket> = HashMap::new();
    let mut turn = Vec::with_capacity(TURN);
    loop {
        let due = world.deadline().map(|at| at.after(clock.now()));
        tokio::select! {
            count = requests.recv_many(&mut turn, TURN) => if count == 0 { return },
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {}
        }
        world.advance(clock.now());
        let mut answers = Vec::new();
        for request in turn.drain(..) {
            match request {
                Request::Connected(id, socket) => {
                    sockets.insert(id, socket);
                    world.connected(id);
                }
                Request::Received(id, bytes) => world.received(id, &bytes),
                Request::Closed(id) => {
                    sockets.remove(&id);
                    world.closed(id);
                }
                Request::Do(ask) => answers.push(ask(&mut world)),
            }
        }
        if let Some(store) = &store
            && let Err(error) = store_changes(&mut world, store.as_ref())
        {
            tracing::error!(%error, "sandbox cannot store its network, stopping");
            return;
        }
        answers.into_iter().for_each(|tell| tell());
        while let Some(output) = world.next_output() {
            match output {
                Output::Bytes(id, bytes) => {
                    if let Some(socket) = sockets.get(&id) {
                        // A closed socket reports its end itself.
                        let _ = socket.send(bytes);
                    }
                }
                Output::Close(id) => {
                    sockets.remove(&id);
                }
            }
        }
    }
}

fn store_changes(world: &mut World, store: &dyn Engine) -> Result<(), StorageError> {
    let changes = world.take_changes();
    if changes.is_empty() {
        return Ok(());
    }
    let writes = changes.into_iter().map(|change| (change.key.into_bytes(), change.value)).collect();
    store.apply(Batch { writes, ..Batch::default() })?;
    store.sync()
}
