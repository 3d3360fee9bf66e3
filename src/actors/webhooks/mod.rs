//! Webhooks: deliveries of events to endpoints.

pub(super) mod dispatcher;
