//! Connect rate of a process: connects and reconnects are spread evenly, so that an outage does not end in one second of connects.

use crate::base::time::Monotonic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Places in a queue of connects, so many a second for all accounts together.
#[derive(Debug)]
pub struct ConnectRate {
    every_micros: u64,
    /// When the next place is free, in microseconds.
    next: AtomicU64,
}

impl ConnectRate {
    /// `per_second` is at least 1.
    pub fn new(per_second: u32) -> Self {
        Self { every_micros: 1_000_000 / u64::from(per_second.max(1)), next: AtomicU64::new(0) }
    }

    /// Takes the next place; returns how long it is until then.
    pub(in crate::account) fn reserve(&self, now: Monotonic) -> Duration {
        let now = now.0.saturating_mul(1000);
        let step = |next: u64| Some(next.max(now).saturating_add(self.every_micros));
        let place = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or(now);
        Duration::from_micros(place.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connects_are_spread_evenly_and_unused_places_are_not_saved() {
        let rate = ConnectRate::new(4);
        let at = |ms: u64| rate.reserve(Monotonic(ms)).as_millis();
        assert_eq!([at(1000), at(1000), at(1000)], [0, 250, 500]);
        assert_eq!(at(1600), 150);
        assert_eq!([at(9000), at(9000)], [0, 250], "unused places are gone");
    }
}
