//! Back-off of failed deliveries (`api.md`, webhooks).

use crate::base::time::Timestamp;
use rand::{Rng, RngExt};
use std::time::Duration;

/// The waits between attempts; after the last attempt the delivery is dead.
pub const RETRY_STEPS: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(12 * 3600),
    Duration::from_secs(24 * 3600),
];

/// The longest `Retry-After` that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The time of the next attempt after `failed` failures, with up to 10 % of jitter; `None` when the attempts are used up. A
/// later `Retry-After` of the endpoint is honoured.
pub fn next_attempt(
    steps: &[Duration],
    now: Timestamp,
    failed: u32,
    retry_after: Option<Duration>,
    rng: &mut dyn Rng,
) -> Option<Timestamp> {
    let step = steps.get(usize::try_from(failed).ok()?.checked_sub(1)?)?;
    let millis = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
    let jittered = Duration::from_millis(millis + rng.random_range(0..=millis / 10));
    let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    Some(now.plus(jittered.max(asked)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn waits_grow_until_the_attempts_are_used_up() {
        let mut rng = StdRng::seed_from_u64(1);
        let now = Timestamp(0);
        for (failed, step) in (1..).zip(RETRY_STEPS) {
            let wait = next_attempt(&RETRY_STEPS, now, failed, None, &mut rng).unwrap().after(now);
            assert!(wait >= step && wait <= step.mul_f64(1.1), "{failed}: {wait:?}");
        }
        assert_eq!(next_attempt(&RETRY_STEPS, now, 9, None, &mut rng), None);
    }

    #[test]
    fn a_later_retry_after_is_honoured() {
        let mut rng = StdRng::seed_from_u64(1);
        let asked = Some(Duration::from_secs(60));
        assert_eq!(next_attempt(&RETRY_STEPS, Timestamp(0), 1, asked, &mut rng), Some(Timestamp(60_000)));
    }
}
