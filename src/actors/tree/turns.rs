//! Turns of an account: waiting inputs, the idle router, and effects whose commits are not yet durable.

use crate::account::{Effect, Input, Router};
use crate::actors::tree::children::ChildActors;
use crate::base::time::Monotonic;
use crate::storage::{Changes, Overlay};
use std::collections::VecDeque;
use tokio::sync::OwnedSemaphorePermit;

/// Most turns with commits under way.
const MAX_IN_FLIGHT: usize = 64;

/// What a turn runs on. Boxed, for it is large and moves into each turn and back.
pub(super) struct Machine {
    pub(super) router: Router,
    pub(super) children: ChildActors,
}

/// An input, with its permit if it came from the connection.
type Waiting = (Input, Option<OwnedSemaphorePermit>);

pub(super) struct Turns {
    inputs: VecDeque<Waiting>,
    /// `None` while a turn is under way.
    machine: Option<Box<Machine>>,
    /// Writes of the turns in flight.
    overlay: Overlay,
    last: u64,
    /// Effects of turns that are not yet durable.
    in_flight: VecDeque<(u64, Vec<Effect>)>,
}

impl Default for Turns {
    fn default() -> Self {
        let (inputs, in_flight) = (VecDeque::new(), VecDeque::new());
        Self { inputs, machine: None, overlay: Overlay::keeping(), last: 0, in_flight }
    }
}

impl Turns {
    pub(super) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    pub(super) fn push(&mut self, input: Input, credit: Option<OwnedSemaphorePermit>) {
        self.inputs.push_back((input, credit));
    }

    /// Drops inbound stanzas, which the service delivers again.
    pub(super) fn keep_commands(&mut self) {
        self.inputs.retain(|(input, _)| matches!(input, Input::Command(..) | Input::Sweep(_) | Input::Erase(..)));
    }

    pub(super) fn clear_inputs(&mut self) {
        self.inputs.clear();
    }

    /// True when no input waits, no turn is under way, and all turns are durable.
    pub(super) fn is_idle(&self) -> bool {
        self.inputs.is_empty() && self.in_flight.is_empty() && self.machine.is_some()
    }

    /// The next input and the router, unless a turn is under way or too many commits are.
    pub(super) fn begin(&mut self) -> Option<(Box<Machine>, Waiting)> {
        if self.in_flight.len() >= MAX_IN_FLIGHT || self.inputs.is_empty() {
            return None;
        }
        let machine = self.machine.take()?;
        Some((machine, self.inputs.pop_front()?))
    }

    /// Returns the router after a turn.
    pub(super) fn end(&mut self, machine: Box<Machine>) {
        self.machine = Some(machine);
    }

    /// Time of the router's next tick.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.machine.as_ref().and_then(|machine| machine.router.deadline())
    }

    /// Queues the effects of a turn without writes behind the turns in flight, whose writes it has read. Returns them when there are
    /// none in flight.
    pub(super) fn defer(&mut self, effects: Vec<Effect>) -> Option<Vec<Effect>> {
        match self.in_flight.back_mut() {
            Some((_, waiting)) => {
                waiting.extend(effects);
                None
            }
            None => Some(effects),
        }
    }

    /// Makes a turn's writes visible to later turns and queues its effects. Returns its number.
    pub(super) fn pin(&mut self, changes: &Changes, effects: Vec<Effect>) -> u64 {
        self.last += 1;
        self.overlay.pin(self.last, changes);
        self.in_flight.push_back((self.last, effects));
        self.last
    }

    /// Drops a durable turn's writes from the overlay.
    pub(super) fn release(&mut self, turn: u64) {
        self.overlay.release(turn);
    }

    /// Effects of the oldest turn in flight, if the turn with this number and all before it are durable.
    pub(super) fn next_durable(&mut self, turn: u64) -> Option<Vec<Effect>> {
        self.in_flight.pop_front_if(|(waiting, _)| *waiting <= turn).map(|(_, effects)| effects)
    }
}
