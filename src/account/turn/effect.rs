//! Effects of a turn: carried out by the driver once the turn's changes are durable.

use super::counter::Counter;
use super::reply::Reply;
use crate::account::view::AccountView;
use crate::base::ids::Generation;
use crate::wire::Node;
use crate::wire::payload::NoiseKeys;

/// An effect, carried out once the turn's changes are durable.
#[derive(Debug)]
pub enum Effect {
    Connect {
        generation: Generation,
        keys: NoiseKeys,
        payload: Vec<u8>,
        routing_info: Option<Vec<u8>>,
    },
    Disconnect(Generation),
    Write(Generation, Box<Node>),
    /// The answer to the command with this token.
    Reply(u64, Reply),
    /// Increments an operator's counter.
    Count(Counter),
    View(Box<AccountView>),
}
