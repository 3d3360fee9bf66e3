//! Requests under way: one `Idempotency-Key` does its work once at a time.

use crate::http::problem::Problem;
use actix_web::rt::time::timeout;
use futures_util::lock::OwnedMutexGuard;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a repetition waits for the answer of the first request.
const PATIENCE: Duration = Duration::from_secs(10);

type Request = [u8; 32];
type Turn = Arc<futures_util::lock::Mutex<()>>;

/// The requests that do their work now, and those that wait for them.
#[derive(Clone)]
pub struct Claims {
    turns: Arc<Mutex<HashMap<Request, Turn>>>,
    patience: Duration,
}

/// The right to do a request's work, until it is dropped.
pub(super) struct Claim {
    claims: Claims,
    request: Request,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Default for Claims {
    fn default() -> Self {
        Self { turns: Arc::default(), patience: PATIENCE }
    }
}

impl Claims {
    /// Waits until no other request has this fingerprint.
    pub(super) async fn claim(&self, request: Request) -> Result<Claim, Problem> {
        let turn = self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(request).or_default().clone();
        let mut claim = Claim { claims: self.clone(), request, turn: None };
        claim.turn = Some(timeout(self.patience, turn.lock_owned()).await.map_err(|_| {
            let detail = "the first request with this Idempotency-Key is still under way; ask again";
            Problem::new(409, "in_progress", detail)
        })?);
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.turn = None;
        let mut turns = self.claims.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.get(&self.request).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[actix_web::test]
    async fn a_repetition_waits_for_the_first_request_and_nothing_is_kept_after_both() {
        let claims = Claims::default();
        let first = claims.claim([1; 32]).await.unwrap();
        let mut second = Box::pin(claims.claim([1; 32]));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(claims.claim([2; 32]).now_or_never().is_some());
        drop(first);
        drop(second.await.unwrap());
        assert!(claims.turns.lock().unwrap().is_empty());
    }

    #[actix_web::test]
    async fn a_repetition_that_waited_too_long_is_409() {
        let claims = Claims { patience: Duration::ZERO, ..Claims::default() };
        let _first = claims.claim([1; 32]).await.unwrap();
        let problem = claims.claim([1; 32]).await.err().unwrap();
        assert!(problem.to_string().contains("still under way"));
    }
}
