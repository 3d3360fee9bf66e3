//! The connection to the service: socket, handshake, stanzas.
//!
//! Back-pressure: each inbound stanza takes a permit, which the account returns after the stanza's turn, so a flood stops at the
//! socket.

use crate::account::Input;
use crate::actors::supervision::boundary::guard_future;
use crate::actors::transport::network::Network;
use crate::actors::transport::socket::Socket;
use crate::actors::tree::inputs::{ConnectionDown, ConnectionInput};
use crate::base::hooks::{Hooks, Point};
use crate::base::ids::{AccountId, Generation};
use crate::signal::KeyPair;
use crate::wire::Node;
use crate::wire::payload::NoiseKeys;
use crate::wire::transport::{ClientEvent, ClientTransport};
use actix::dev::SendError;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Recipient, WrapFuture};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

/// Inbound stanzas of one account without a finished turn.
const CREDITS: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// Everything that one connection attempt needs.
pub(super) struct Dial {
    pub(super) account: AccountId,
    pub(super) generation: Generation,
    pub(super) network: Network,
    pub(super) keys: NoiseKeys,
    pub(super) payload: Vec<u8>,
    pub(super) routing_info: Option<Vec<u8>>,
    pub(super) ephemeral: KeyPair,
    pub(super) hooks: Arc<dyn Hooks>,
}

/// The account's handle of its connection. Dropping it closes the connection.
pub(super) struct Connected {
    generation: Generation,
    stanzas: mpsc::UnboundedSender<Node>,
}

impl Connected {
    /// Starts a connection on this arbiter. Inbound stanzas go to `inputs`, the report of its end to `downs`.
    pub(super) fn open(dial: Dial, inputs: Recipient<ConnectionInput>, downs: Recipient<ConnectionDown>) -> Self {
        let (stanzas, outgoing) = mpsc::unbounded_channel();
        let generation = dial.generation;
        Connection { start: Some((dial, outgoing)), inputs, downs }.start();
        Self { generation, stanzas }
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn write(&self, node: Node) {
        // An ended connection reports that itself, and queued messages are written again on the next one.
        let _ = self.stanzas.send(node);
    }
}

struct Connection {
    start: Option<(Dial, mpsc::UnboundedReceiver<Node>)>,
    inputs: Recipient<ConnectionInput>,
    downs: Recipient<ConnectionDown>,
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some((dial, outgoing)) = self.start.take() else {
            ctx.stop();
            return;
        };
        let (generation, downs) = (dial.generation, self.downs.clone());
        let connection = guard_future(run(dial, self.inputs.clone(), outgoing));
        let finished = async move {
            let down = match connection.await {
                Ok(why) => ConnectionDown { generation, why, panicked: false },
                Err(panic) => ConnectionDown { generation, why: panic.to_string(), panicked: true },
            };
            // A stopped account needs no report.
            let _ = downs.send(down).await;
        };
        ctx.spawn(finished.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

/// Connects, then carries stanzas until the connection or the account ends. Returns the reason.
async fn run(dial: Dial, inputs: Recipient<ConnectionInput>, mut outgoing: mpsc::UnboundedReceiver<Node>) -> String {
    let Dial { account, generation, network, keys, payload, routing_info, ephemeral, hooks } = dial;
    let mut socket = match network.connect().await {
        Ok(socket) => socket,
        Err(error) => return error.to_string(),
    };
    let mut link =
        match ClientTransport::connect(network.current_root(keys), payload, ephemeral, routing_info.as_deref()) {
            Ok(link) => link,
            Err(error) => return error.to_string(),
        };
    let credits = Arc::new(Semaphore::new(CREDITS));
    let mut ready = false;
    loop {
        let output = link.take_output();
        if !output.is_empty() {
            if let Err(error) = socket.send(Frame::Binary(output.into())).await {
                return error.to_string();
            }
            hooks.reach(Point::Written, account.as_str());
        }
        let frame = tokio::select! {
            node = outgoing.recv() => {
                let Some(node) = node else {
                    let _ = socket.close(None).await;
                    return "closed by the account".to_owned();
                };
                if let Err(why) = write(&mut socket, &mut link, node, &mut outgoing).await {
                    return why;
                }
                hooks.reach(Point::Written, account.as_str());
                continue;
            }
            frame = socket.next() => frame,
            () = tokio::time::sleep(HANDSHAKE_TIMEOUT), if !ready => return "the handshake timed out".to_owned(),
        };
        let bytes = match frame {
            Some(Ok(Frame::Binary(bytes))) => bytes,
            Some(Ok(Frame::Close(_))) | None => return "the service closed the connection".to_owned(),
            Some(Ok(_)) => continue,
            Some(Err(error)) => return error.to_string(),
        };
        hooks.reach(Point::Received, account.as_str());
        let events = match link.receive(&bytes) {
            Ok(events) => events,
            Err(error) => {
                network.failed(&error).await;
                return error.to_string();
            }
        };
        for event in events {
            let input = match event {
                ClientEvent::Ready => {
                    ready = true;
                    Input::Connected(generation)
                }
                ClientEvent::Stanza(node) => Input::Stanza(generation, Box::new(node)),
            };
            let Ok(credit) = credits.clone().acquire_owned().await else { return "closed".to_owned() };
            let sent = match inputs.try_send(ConnectionInput { input, credit }) {
                Ok(()) => true,
                // Commands fill the mailbox: it waits for a place.
                Err(SendError::Full(waiting)) => inputs.send(waiting).await.is_ok(),
                Err(SendError::Closed(_)) => false,
            };
            if !sent {
                return "the account has stopped".to_owned();
            }
        }
    }
}

/// Writes a stanza and those that wait behind it, each in a message of its own, in one call of the system.
async fn write(
    socket: &mut WebSocketStream<Box<dyn Socket>>,
    link: &mut ClientTransport,
    first: Node,
    waiting: &mut mpsc::UnboundedReceiver<Node>,
) -> Result<(), String> {
    let mut next = Some(first);
    while let Some(node) = next {
        link.send(&node).map_err(|error| error.to_string())?;
        socket.feed(Frame::Binary(link.take_output().into())).await.map_err(|error| error.to_string())?;
        next = waiting.try_recv().ok();
    }
    socket.flush().await.map_err(|error| error.to_string())
}
