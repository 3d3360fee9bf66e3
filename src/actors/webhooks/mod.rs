//! Webhooks: deliveries of events to endpoints.

mod attempt;
pub(super) mod dispatcher;
