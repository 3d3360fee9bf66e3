//! Layer 3: webhooks as pure functions: endpoints, deliveries, signatures, back-off, allowed targets.

mod backoff;
mod endpoint;
mod sign;
mod target;

pub use backoff::{RETRY_STEPS, next_wait, rest_of_wait};
pub use endpoint::{Delivery, DeliveryStatus, Endpoint, NewEndpoint, delivery_key, position_of};
pub use sign::{Secret, signature};
pub use target::{TargetError, check_url, is_public, is_public_host};
