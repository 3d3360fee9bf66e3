//! The event `message.status` (`api.md`).

use super::record::{MessageRecord, MessageStatus};
use crate::account::turn::event::Event;
use serde::Serialize;

pub(super) const CHANGED: &str = StatusChanged::TYPE;

#[derive(Serialize)]
pub(super) struct StatusChanged<'a> {
    id: &'a str,
    chat: &'a str,
    status: MessageStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<&'a str>,
    /// The stable code of a failure, and its meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'a str>,
}

impl Event for StatusChanged<'_> {
    const TYPE: &'static str = "message.status";

    fn chat(&self) -> &str {
        self.chat
    }
}

impl<'a> StatusChanged<'a> {
    pub(super) fn of(record: &'a MessageRecord, status: MessageStatus) -> Self {
        Self { id: record.id.as_str(), chat: &record.to, status, recipient: None, code: None, meaning: None }
    }

    /// A recipient has reached this status.
    pub(super) fn by(record: &'a MessageRecord, status: MessageStatus, recipient: &'a str) -> Self {
        Self { recipient: Some(recipient), ..Self::of(record, status) }
    }

    pub(super) fn failed(record: &'a MessageRecord, code: &'a str, meaning: &'a str) -> Self {
        Self { code: Some(code), meaning: Some(meaning), ..Self::of(record, MessageStatus::Failed) }
    }
}
