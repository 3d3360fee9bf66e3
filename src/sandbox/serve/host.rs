//! The task that owns the world: requests in, time, outputs to the sockets.

use crate::base::time::Clock;
use crate::sandbox::world::{ConnectionId, Output, World};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// What a socket is told; the channel's end closes it.
pub(super) type ToSocket = mpsc::UnboundedSender<Vec<u8>>;

enum Request {
    Connected(ConnectionId, ToSocket),
    Received(ConnectionId, Vec<u8>),
    Closed(ConnectionId),
    Do(Box<dyn FnOnce(&mut World) + Send>),
}

/// The way to the world.
#[derive(Clone)]
pub struct WorldHost {
    requests: mpsc::UnboundedSender<Request>,
    next: Arc<AtomicU64>,
}

impl WorldHost {
    /// Starts the task on the current arbiter.
    pub fn start(world: World, clock: Arc<dyn Clock>) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        actix_web::rt::spawn(own(world, clock, receiver));
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

    /// Runs `ask` on the world; `None` when the world is gone.
    pub async fn with<R: Send + 'static>(&self, ask: impl FnOnce(&mut World) -> R + Send + 'static) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        self.tell(Request::Do(Box::new(move |world| {
            // A caller that has gone needs no answer.
            let _ = answer.send(ask(world));
        })));
        answered.await.ok()
    }

    fn tell(&self, request: Request) {
        if self.requests.send(request).is_err() {
            tracing::warn!("the sandbox's world has ended");
        }
    }
}

async fn own(mut world: World, clock: Arc<dyn Clock>, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut sockets: HashMap<ConnectionId, ToSocket> = HashMap::new();
    loop {
        let due = world.deadline().map(|at| at.after(clock.now()));
        let request = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => Some(request),
                None => return,
            },
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => None,
        };
        world.advance(clock.now());
        match request {
            None => {}
            Some(Request::Connected(id, socket)) => {
                sockets.insert(id, socket);
                world.connected(id);
            }
            Some(Request::Received(id, bytes)) => world.received(id, &bytes),
            Some(Request::Closed(id)) => {
                sockets.remove(&id);
                world.closed(id);
            }
            Some(Request::Do(ask)) => ask(&mut world),
        }
        while let Some(output) = world.next_output() {
            match output {
                Output::Bytes(id, bytes) => {
                    if let Some(socket) = sockets.get(&id) {
                        // A socket that is gone reports that by itself.
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
