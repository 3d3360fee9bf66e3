//! Back-off of failed deliveries (`api.md`, webhooks).

use super::endpoint::Delivery;
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

/// The wait before the next attempt after `failed` failures, with up to 10 % of jitter; `None` when the attempts are used up. A longer
/// `Retry-After` of the endpoint is honoured.
pub fn next_wait(
    steps: &[Duration],
    failed: u32,
    retry_after: Option<Duration>,
    rng: &mut dyn Rng,
) -> Option<Duration> {
    let millis = u64::try_from(step(steps, failed)?.as_millis()).unwrap_or(u64::MAX);
    let jittered = Duration::from_millis(millis + rng.random_range(0..=millis / 10));
    Some(jittered.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)))
}

/// The wait of a delivery that was stored by an earlier run. The clock may stand elsewhere since: it is no longer than its step.
pub fn rest_of_wait(steps: &[Duration], delivery: &Delivery, now: Timestamp) -> Duration {
    let longest = step(steps, delivery.failed).unwrap_or_default();
    delivery.next_at.after(now).min(longest)
}

fn step(steps: &[Duration], failed: u32) -> Option<Duration> {
    steps.get(usize::try_from(failed).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::AccountKey;
    use crate::webhook::DeliveryStatus;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// `api.md`: 5 s, 30 s, 2 min, 10 min, 1 h, 6 h, 12 h, 24 h.
    #[test]
    fn steps_are_those_of_the_contract() {
        assert_eq!(RETRY_STEPS.map(|step| step.as_secs()), [5, 30, 120, 600, 3_600, 21_600, 43_200, 86_400]);
        assert_eq!(MAX_RETRY_AFTER.as_secs(), 86_400);
    }

    #[test]
    fn waits_grow_until_the_attempts_are_used_up() {
        let mut rng = StdRng::seed_from_u64(1);
        for (failed, step) in (1..).zip(RETRY_STEPS) {
            let wait = next_wait(&RETRY_STEPS, failed, None, &mut rng).unwrap();
            assert!(wait >= step && wait <= step.mul_f64(1.1), "{failed}: {wait:?}");
        }
        assert_eq!(next_wait(&RETRY_STEPS, 9, None, &mut rng), None);
    }

    #[test]
    fn a_later_retry_after_is_honoured() {
        let mut rng = StdRng::seed_from_u64(1);
        let asked = Some(Duration::from_secs(60));
        assert_eq!(next_wait(&RETRY_STEPS, 1, asked, &mut rng), asked);
    }

    #[test]
    fn a_stored_delivery_waits_no_longer_than_its_step_wherever_the_clock_stands() {
        let at = Timestamp(1_000_000);
        let stored = |failed| Delivery {
            event: String::new(),
            account: AccountKey::SERVER,
            chat: String::new(),
            failed,
            next_at: at,
            status: DeliveryStatus::Pending,
            last_error: None,
        };
        assert_eq!(rest_of_wait(&RETRY_STEPS, &stored(1), Timestamp(at.0 - 2)), Duration::from_millis(2));
        assert_eq!(rest_of_wait(&RETRY_STEPS, &stored(2), Timestamp(0)), RETRY_STEPS[1]);
        assert_eq!(rest_of_wait(&RETRY_STEPS, &stored(2), at), Duration::ZERO);
        assert_eq!(rest_of_wait(&RETRY_STEPS, &stored(0), Timestamp(0)), Duration::ZERO);
    }
}
