//! Idempotency of commands (`api.md`, "Idempotency-Key"): a repeated request gets the stored answer of the first.
//!
//! Invariant: the answer's row is in the commit that answers. A request that is not answered within its first turn has a row
//! without an answer from that turn on, so that after a restart its repetition gets `outcome_unknown`.

use super::reply::{Repeated, Reply, ReplyTo};
use crate::account::codec;
use crate::account::error::AccountError;
use crate::base::ids::RequestFingerprint;
use crate::base::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::any::Any;

type Recall = fn(Value) -> Option<Box<dyn Any + Send>>;

/// A command's fingerprint, and how its stored answer becomes typed again.
#[derive(Debug, Clone)]
pub struct Once {
    pub(in crate::account) fingerprint: RequestFingerprint,
    pub(in crate::account) token: u64,
    recall: Recall,
}

impl Once {
    pub fn new<T, E>(fingerprint: RequestFingerprint, reply: &ReplyTo<T, E>) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        E: Send + 'static,
    {
        let recall: Recall = |stored| {
            let answer: T = serde_json::from_value(stored).ok()?;
            Some(Box::new(Ok::<T, E>(answer)))
        };
        Self { fingerprint, token: reply.token(), recall }
    }
}

/// A stored request. Rows of the first format have neither `at` nor `chat`: their answer is a message record, which holds both.
#[derive(Serialize, Deserialize)]
pub(in crate::account) struct IdempotencyRecord {
    /// The hash of the body, in hex.
    body: String,
    #[serde(default)]
    at: Option<Timestamp>,
    /// The chat of the answer, for erasure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chat: Option<String>,
    /// Absent while the request is not answered; `null` is the answer of a command that answers nothing.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    answer: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(answer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(answer).map(Some)
}

impl IdempotencyRecord {
    pub(in crate::account) fn decode(bytes: &[u8]) -> Result<Self, AccountError> {
        codec::decode_json(bytes, "idempotency")
    }

    /// The record of an accepted, unanswered request.
    pub(super) fn begun(fingerprint: &RequestFingerprint, now: Timestamp) -> Self {
        Self { body: hex::encode(fingerprint.body), at: Some(now), chat: None, answer: None }
    }

    pub(super) fn answered(self, chat: Option<&str>, answer: Value) -> Self {
        Self { chat: chat.map(str::to_owned), answer: Some(answer), ..self }
    }

    fn at(&self) -> Timestamp {
        let of_record = || serde_json::from_value(self.answer.as_ref()?.get("created_at")?.clone()).ok();
        self.at.or_else(of_record).unwrap_or_default()
    }

    pub(in crate::account) fn chat(&self) -> Option<&str> {
        self.chat.as_deref().or_else(|| self.answer.as_ref()?.get("to")?.as_str())
    }

    pub(in crate::account) fn expires(&self) -> Timestamp {
        self.at().plus(RequestFingerprint::KEPT)
    }

    /// The reply to a repetition at `now`; `None` when the row is too old to count.
    pub(in crate::account) fn reply(self, once: &Once, under_way: bool, now: Timestamp) -> Option<Reply> {
        if self.expires() <= now {
            return None;
        }
        let same_body = self.body == hex::encode(once.fingerprint.body);
        Some(match self.answer {
            _ if !same_body => Reply::Repeated(Repeated::OtherBody),
            None if under_way => Reply::Repeated(Repeated::UnderWay),
            None => Reply::Repeated(Repeated::OutcomeUnknown),
            Some(answer) => (once.recall)(answer).map_or(Reply::Repeated(Repeated::OutcomeUnknown), Reply::Answer),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FINGERPRINT: RequestFingerprint = RequestFingerprint { request: [1; 32], body: [2; 32] };

    fn once(body: [u8; 32]) -> Once {
        Once::new(RequestFingerprint { body, ..FINGERPRINT }, &ReplyTo::<String, ()>::new(1))
    }

    fn answer(reply: Option<Reply>) -> Result<String, Repeated> {
        match reply.expect("the row counts") {
            Reply::Answer(answer) => Ok(answer.downcast::<Result<String, ()>>().unwrap().unwrap()),
            Reply::Repeated(repeated) => Err(repeated),
        }
    }

    #[test]
    fn a_repetition_gets_the_stored_answer_and_another_body_is_refused() {
        let stored = || IdempotencyRecord::begun(&FINGERPRINT, Timestamp(5)).answered(Some("a chat"), json!("made"));
        assert_eq!(answer(stored().reply(&once([2; 32]), false, Timestamp(6))), Ok("made".into()));
        assert_eq!(answer(stored().reply(&once([3; 32]), false, Timestamp(6))), Err(Repeated::OtherBody));
        assert_eq!(stored().chat(), Some("a chat"));
        assert!(stored().reply(&once([2; 32]), false, stored().expires()).is_none(), "after a day");
    }

    #[test]
    fn an_answer_without_content_is_an_answer() {
        let stored = IdempotencyRecord::begun(&FINGERPRINT, Timestamp(5)).answered(None, Value::Null);
        let stored = IdempotencyRecord::decode(&codec::encode_json(&stored)).unwrap();
        let once = Once::new(FINGERPRINT, &ReplyTo::<(), ()>::new(1));
        let reply = stored.reply(&once, false, Timestamp(6)).unwrap();
        assert!(matches!(reply, Reply::Answer(_)), "{reply:?}");
    }

    #[test]
    fn a_request_without_an_answer_is_under_way_or_its_outcome_is_unknown_after_a_restart() {
        let begun = || IdempotencyRecord::begun(&FINGERPRINT, Timestamp(5));
        assert_eq!(answer(begun().reply(&once([2; 32]), true, Timestamp(6))), Err(Repeated::UnderWay));
        assert_eq!(answer(begun().reply(&once([2; 32]), false, Timestamp(6))), Err(Repeated::OutcomeUnknown));
    }

    #[test]
    fn a_row_of_the_first_format_has_its_time_and_chat_in_its_answer() {
        let stored = json!({ "body": hex::encode([2; 32]), "answer": { "created_at": 7, "to": "a chat" } });
        let row = [&[1], stored.to_string().as_bytes()].concat();
        let read = IdempotencyRecord::decode(&row).unwrap();
        assert_eq!((read.chat(), read.expires()), (Some("a chat"), Timestamp(7).plus(RequestFingerprint::KEPT)));
    }
}
