//! The panic boundary: what runs inside it ends with an error where it would have unwound into actix.

use futures_util::FutureExt;
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A panic, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panic: {0}")]
pub struct Panicked(pub String);

fn message(payload: &(dyn Any + Send)) -> Panicked {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    Panicked(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "of unknown kind".into()))
}

/// Runs `f`. State that it held is suspect after a panic: the caller drops it.
pub fn guard<R>(f: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| message(&*payload))
}

/// Runs a future to its end, or to its panic.
pub async fn guard_future<F: Future>(future: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|payload| message(&*payload))
}
