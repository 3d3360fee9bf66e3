//! Fibonacci back-off.

use std::time::Duration;

/// 1, 1, 2, 3, 5 … seconds for the attempts 0, 1, 2 …, at most `max`.
pub fn fibonacci(attempt: u32, max: Duration) -> Duration {
    let (mut wait, mut next) = (1u64, 1u64);
    for _ in 0..attempt {
        if wait >= max.as_secs() {
            return max;
        }
        (wait, next) = (next, wait.saturating_add(next));
    }
    Duration::from_secs(wait).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_fibonacci_numbers_up_to_the_maximum() {
        let max = Duration::from_secs(900);
        let waits: Vec<u64> = (0..7).map(|attempt| fibonacci(attempt, max).as_secs()).collect();
        assert_eq!(waits, [1, 1, 2, 3, 5, 8, 13]);
        assert_eq!(fibonacci(1000, max), max);
    }
}
