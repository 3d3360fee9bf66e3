//! Answers of the service to a request of a device.

use crate::wire::Node;

/// The code and the text of an error answer.
pub(in crate::sandbox::world) type Refusal = (u64, &'static str);

/// The content of an answer, or its refusal.
pub(in crate::sandbox::world) type Answer = Result<Option<Node>, Refusal>;

pub(in crate::sandbox::world) const BAD_REQUEST: Refusal = (400, "bad-request");
pub(in crate::sandbox::world) const FORBIDDEN: Refusal = (403, "forbidden");
pub(in crate::sandbox::world) const NOT_FOUND: Refusal = (404, "item-not-found");
