//! The status of a message in the document.

use crate::account::commands::MessageStatus;
use serde_json::Value;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

const ALL: [MessageStatus; 6] = [
    MessageStatus::Queued,
    MessageStatus::Sent,
    MessageStatus::Delivered,
    MessageStatus::Read,
    MessageStatus::Played,
    MessageStatus::Failed,
];

pub(super) fn status_schema() -> Object {
    let names = ALL.iter().map(|status| serde_json::to_value(status).unwrap_or(Value::Null));
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
}
