//! Messages in both directions: receiving, sending, receipts, retries.

pub(in crate::account) mod budget;
pub(in crate::account) mod inbound;
pub(in crate::account) mod outbound;
pub(in crate::account) mod receipts;
pub(in crate::account) mod record;
pub(in crate::account) mod resend;
