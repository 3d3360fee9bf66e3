//! Heartbeat of a tree: it answers the fleet's pings, and its turns end. The accounts of a blocked thread are fenced off and restarted
//! on another thread.
//!
//! Missed pings are counted in the fleet's rounds, not in time: a clock that jumps or a machine that slept causes no false alarm.

use crate::account::StanzaFingerprint;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Rounds that a tree may stay silent, or in the same turn.
pub(in crate::actors) const ROUNDS: u32 = 4;

/// Signs of life of one tree, shared with the fleet.
#[derive(Clone, Default)]
pub(in crate::actors) struct Heartbeat(Arc<Signs>);

#[derive(Default)]
struct Signs {
    /// Pings without an answer.
    missed: AtomicU32,
    /// Counts starts and ends of turns: odd while one is under way.
    turn: AtomicU64,
    /// True while code of the tree runs.
    running: AtomicBool,
    /// The stanza of the current turn.
    stanza: Mutex<Option<StanzaFingerprint>>,
}

/// The fleet's state of one tree between two rounds.
#[derive(Debug, Default)]
pub(in crate::actors) struct Watch {
    turn: u64,
    rounds: u32,
}

impl Heartbeat {
    pub(in crate::actors) fn pong(&self) {
        self.0.missed.store(0, Ordering::Relaxed);
    }

    pub(in crate::actors) fn begin_turn(&self, stanza: Option<StanzaFingerprint>) {
        *self.0.stanza.lock().unwrap_or_else(PoisonError::into_inner) = stanza;
        self.0.turn.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::actors) fn end_turn(&self) {
        self.0.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs code of the tree, marked as running.
    pub(in crate::actors) fn run<R>(&self, code: impl FnOnce() -> R) -> R {
        self.0.running.store(true, Ordering::Relaxed);
        let result = code();
        self.0.running.store(false, Ordering::Relaxed);
        result
    }

    /// Runs a future of the tree, marked as running while it is polled.
    pub(in crate::actors) async fn run_future<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| self.run(|| future.as_mut().poll(context))).await
    }

    /// Counts one more round. Returns the kind of hang when the tree has made no progress for too many.
    pub(in crate::actors) fn round(&self, watch: &mut Watch) -> Option<Stuck> {
        if self.0.missed.fetch_add(1, Ordering::Relaxed) >= ROUNDS {
            return Some(Stuck::Thread);
        }
        let turn = self.0.turn.load(Ordering::Relaxed);
        watch.rounds = if turn % 2 == 1 && turn == watch.turn { watch.rounds + 1 } else { 0 };
        watch.turn = turn;
        (watch.rounds >= ROUNDS).then_some(Stuck::Turn)
    }

    /// The stanza that the tree hangs in. On a blocked thread only the tree whose code runs is suspect.
    pub(in crate::actors) fn suspect(&self, stuck: Stuck) -> Option<StanzaFingerprint> {
        let is_turning = self.0.turn.load(Ordering::Relaxed) % 2 == 1;
        let is_to_blame = is_turning && (stuck == Stuck::Turn || self.0.running.load(Ordering::Relaxed));
        self.0.stanza.lock().unwrap_or_else(PoisonError::into_inner).filter(|_| is_to_blame)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::actors) enum Stuck {
    /// The tree's thread is blocked.
    Thread,
    /// A turn waits for an answer that does not come.
    Turn,
}

impl Stuck {
    pub(in crate::actors) const fn why(self) -> &'static str {
        match self {
            Self::Thread => "the thread of the account is blocked",
            Self::Turn => "a turn does not end",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Node;

    fn rounds(heartbeat: &Heartbeat, watch: &mut Watch, count: u32, answers: bool) -> Option<Stuck> {
        let mut last = None;
        for _ in 0..count {
            last = heartbeat.round(watch);
            if answers {
                heartbeat.pong();
            }
        }
        last
    }

    #[test]
    fn tree_without_pongs_is_stuck() {
        let (heartbeat, mut watch) = (Heartbeat::default(), Watch::default());
        assert_eq!(rounds(&heartbeat, &mut watch, ROUNDS, false), None);
        heartbeat.pong();
        assert_eq!(rounds(&heartbeat, &mut watch, ROUNDS, false), None);
        assert_eq!(heartbeat.round(&mut watch), Some(Stuck::Thread));
    }

    #[test]
    fn tree_is_stuck_in_one_long_turn_and_not_after_many_short_ones() {
        let (heartbeat, mut watch) = (Heartbeat::default(), Watch::default());
        for _ in 0..3 * ROUNDS {
            heartbeat.begin_turn(None);
            assert_eq!(rounds(&heartbeat, &mut watch, 1, true), None);
            heartbeat.end_turn();
        }
        heartbeat.begin_turn(None);
        assert_eq!(rounds(&heartbeat, &mut watch, ROUNDS, true), None);
        assert_eq!(rounds(&heartbeat, &mut watch, 1, true), Some(Stuck::Turn));
    }

    #[test]
    fn suspect_of_a_blocked_thread_is_the_turn_whose_code_runs() {
        let stanza = StanzaFingerprint::of(&Node::new("message").attr("id", "A"));
        let (idle, running) = (Heartbeat::default(), Heartbeat::default());
        idle.begin_turn(stanza);
        running.begin_turn(stanza);
        running.run(|| {
            assert_eq!(idle.suspect(Stuck::Thread), None);
            assert_eq!(running.suspect(Stuck::Thread), stanza);
        });
        assert_eq!(idle.suspect(Stuck::Turn), stanza);
        running.end_turn();
        assert_eq!(running.suspect(Stuck::Turn), None);
    }
}
