//! Token buckets: how often something may happen.

use super::time::Monotonic;

/// The size of a bucket, and the time in which a token is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub burst: u64,
    pub every_ms: u64,
}

/// One bucket, as the time when it is full again. A new one is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket(Monotonic);

impl Bucket {
    /// Takes a token; false when there is none.
    pub fn take(&mut self, rate: Rate, now: Monotonic) -> bool {
        let fits = self.has(rate, now);
        if fits {
            self.0 = Monotonic(self.0.max(now).0 + rate.every_ms);
        }
        fits
    }

    /// Whether there is a token to take.
    pub fn has(&self, rate: Rate, now: Monotonic) -> bool {
        self.0.max(now).0 + rate.every_ms - now.0 <= rate.burst * rate.every_ms
    }

    /// Puts a token back before its time.
    pub fn give(&mut self, rate: Rate) {
        self.0 = Monotonic(self.0.0.saturating_sub(rate.every_ms));
    }

    pub fn is_full(&self, now: Monotonic) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every_ms: 10 };

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_token_at_a_time() {
        let mut bucket = Bucket::default();
        let mut taken = |at: u64| (0..100).filter(|_| bucket.take(RATE, Monotonic(at))).count();
        assert_eq!([taken(1000), taken(1005), taken(1010), taken(1035), taken(9000)], [3, 0, 1, 2, 3]);
    }

    #[test]
    fn a_token_that_is_put_back_can_be_taken_again() {
        let (mut bucket, now) = (Bucket::default(), Monotonic(1000));
        (0..3).for_each(|_| assert!(bucket.take(RATE, now)));
        bucket.give(RATE);
        assert!(bucket.has(RATE, now) && bucket.take(RATE, now) && !bucket.has(RATE, now));
        assert!(!bucket.is_full(now) && bucket.is_full(Monotonic(1030)));
    }
}
