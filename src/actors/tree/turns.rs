//! Turns of an account: inputs that wait, the router while none is under way, and effects whose commits are not yet durable.

use crate::account::{Effect, Input, Router};
use crate::actors::tree::children::ChildActors;
use crate::base::time::Monotonic;
use crate::storage::{Changes, Overlay};
use std::collections::VecDeque;
use tokio::sync::OwnedSemaphorePermit;

/// Turns that may be computed ahead of their commits.
const MAX_IN_FLIGHT: usize = 64;

/// An input, with its credit where it came from the connection.
type Waiting = (Input, Option<OwnedSemaphorePermit>);

#[derive(Default)]
pub(super) struct Turns {
    inputs: VecDeque<Waiting>,
    /// Away while a turn is under way.
    machine: Option<(Router, ChildActors)>,
    /// What the turns in flight have written.
    overlay: Overlay,
    last: u64,
    /// Effects of turns that are not yet durable.
    in_flight: VecDeque<(u64, Vec<Effect>)>,
}

impl Turns {
    pub(super) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    pub(super) fn push(&mut self, input: Input, credit: Option<OwnedSemaphorePermit>) {
        self.inputs.push_back((input, credit));
    }

    /// Drops inputs that only the service has sent: it delivers them again.
    pub(super) fn keep_commands(&mut self) {
        self.inputs.retain(|(input, _)| matches!(input, Input::Command(..) | Input::Sweep(_) | Input::Erase(..)));
    }

    pub(super) fn clear_inputs(&mut self) {
        self.inputs.clear();
    }

    /// No input waits, no turn is under way, and all are durable.
    pub(super) fn is_idle(&self) -> bool {
        self.inputs.is_empty() && self.in_flight.is_empty() && self.machine.is_some()
    }

    /// The next input and what carries it out, unless a turn is under way or too many commits are.
    pub(super) fn begin(&mut self) -> Option<(Router, ChildActors, Waiting)> {
        if self.in_flight.len() >= MAX_IN_FLIGHT || self.inputs.is_empty() {
            return None;
        }
        let (router, children) = self.machine.take()?;
        Some((router, children, self.inputs.pop_front()?))
    }

    /// Takes the router back after a turn.
    pub(super) fn end(&mut self, router: Router, children: ChildActors) {
        self.machine = Some((router, children));
    }

    /// When the router wants its next tick.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.machine.as_ref().and_then(|(router, _)| router.deadline())
    }

    /// Effects of a turn that wrote nothing. They wait for the turns before, which it has read; returned when there are none.
    pub(super) fn defer(&mut self, effects: Vec<Effect>) -> Option<Vec<Effect>> {
        match self.in_flight.back_mut() {
            Some((_, waiting)) => {
                waiting.extend(effects);
                None
            }
            None => Some(effects),
        }
    }

    /// Shows a turn's writes to the turns after it, and holds its effects back. Returns its number.
    pub(super) fn pin(&mut self, changes: &Changes, effects: Vec<Effect>) -> u64 {
        self.last += 1;
        self.overlay.pin(self.last, changes);
        self.in_flight.push_back((self.last, effects));
        self.last
    }

    /// A turn's writes are in the store.
    pub(super) fn release(&mut self, turn: u64) {
        self.overlay.release(turn);
    }

    /// Effects of the oldest turn in flight, if the turn with this number and all before it are durable.
    pub(super) fn next_durable(&mut self, turn: u64) -> Option<Vec<Effect>> {
        self.in_flight.pop_front_if(|(waiting, _)| *waiting <= turn).map(|(_, effects)| effects)
    }
}
