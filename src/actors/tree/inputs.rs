//! Messages to an account's actor: commands, inputs from its connection, and requests of the fleet.

use crate::account::{Input, Reply};
use crate::base::ids::Generation;
use actix::Message;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Makes an input that is answered, from the token of its reply.
pub(in crate::actors) type MakeInput = Box<dyn FnOnce(u64) -> Input + Send>;

/// An input from outside; the reply comes through the channel, which is dropped when the tree goes down. False when too many
/// inputs wait.
#[derive(Message)]
#[rtype(result = "bool")]
pub(in crate::actors) struct Request(pub(in crate::actors) MakeInput, pub(in crate::actors) oneshot::Sender<Reply>);

/// The fleet asks for a sign of life.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Ping;

/// The fleet has started another tree of the account: this one ends.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Abandoned;

/// The server stops: the account finishes accepted commands and drops inbound stanzas, which the service delivers again.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Drain(pub(in crate::actors) oneshot::Sender<()>);

/// An input from the connection; the credit is returned when its turn is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct ConnectionInput {
    pub(in crate::actors) input: Input,
    pub(in crate::actors) credit: OwnedSemaphorePermit,
}

/// The connection has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct ConnectionDown {
    pub(in crate::actors) generation: Generation,
    pub(in crate::actors) why: String,
    pub(in crate::actors) panicked: bool,
}
