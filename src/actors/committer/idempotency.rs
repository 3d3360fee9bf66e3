//! Idempotency of requests that create something: the answer is committed with what was created, so that a repeated request
//! creates no second one.

use crate::base::ids::RequestFingerprint;
use crate::base::time::Timestamp;
use crate::storage::{ChangeSet, StorageError, kind, owner};

const FORMAT: u8 = 2;

/// An answer and the fingerprint of its request.
pub struct IdempotentAnswer {
    pub request: [u8; 32],
    pub answer: Vec<u8>,
    pub at: Timestamp,
}

pub(in crate::actors) fn put_answer(writes: &mut ChangeSet<owner::Server>, answer: Option<IdempotentAnswer>) {
    if let Some(IdempotentAnswer { request, answer, at }) = answer {
        let value = [&[FORMAT], &at.0.to_be_bytes()[..], &answer].concat();
        writes.put(kind::SERVER_IDEMPOTENCY, request, value);
    }
}

/// Decodes a stored answer: its time and its bytes.
pub(in crate::actors) fn read_answer(key: &[u8], stored: &[u8]) -> Result<(Timestamp, Vec<u8>), StorageError> {
    let parts = stored.split_first().filter(|(format, _)| **format == FORMAT);
    let Some((at, answer)) = parts.and_then(|(_, rest)| rest.split_first_chunk::<8>()) else {
        let kind = kind::SERVER_IDEMPOTENCY.code();
        return Err(StorageError::Corrupt { kind, key: hex::encode(key), what: "idempotent answer" });
    };
    Ok((Timestamp(u64::from_be_bytes(*at)), answer.to_vec()))
}

/// True while an answer from `at` is within its retention.
pub(in crate::actors) fn is_kept(at: Timestamp, now: Timestamp) -> bool {
    now < at.plus(RequestFingerprint::KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Changes;

    #[test]
    fn answer_is_kept_for_a_day() {
        let at = Timestamp(5);
        let last = at.plus(RequestFingerprint::KEPT);
        assert!(is_kept(at, Timestamp(last.0 - 1)) && !is_kept(at, last));
    }

    #[test]
    fn stored_answer_is_read_back() {
        let mut writes = ChangeSet::default();
        let answer = b"{}".to_vec();
        put_answer(&mut writes, Some(IdempotentAnswer { request: [1; 32], answer: answer.clone(), at: Timestamp(5) }));
        let mut changes = Changes::default();
        changes.absorb(writes);
        let stored = changes.writes[0].value.clone().unwrap();
        assert_eq!(read_answer(b"", &stored).unwrap(), (Timestamp(5), answer));
        assert!(matches!(read_answer(b"", &stored[..5]), Err(StorageError::Corrupt { .. })));
    }
}
