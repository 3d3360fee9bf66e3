//! Typed answers to commands. A command holds a [`ReplyTo`]; the driver passes the answer as `dyn Any` to the caller, which knows
//! its type.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

/// The place of a command's answer: `T`, or the refusal `E`.
pub struct ReplyTo<T, E = Infallible> {
    token: u64,
    answer: PhantomData<fn(T, E)>,
}

impl<T, E> ReplyTo<T, E> {
    /// `token` names the waiting caller to the driver.
    pub fn new(token: u64) -> Self {
        Self { token, answer: PhantomData }
    }

    pub fn token(&self) -> u64 {
        self.token
    }
}

impl<T, E> Clone for ReplyTo<T, E> {
    fn clone(&self) -> Self {
        Self::new(self.token)
    }
}

impl<T, E> fmt::Debug for ReplyTo<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyTo({})", self.token)
    }
}

/// An answer on its way to the caller.
#[derive(Debug)]
pub enum Reply {
    /// A `Result<T, E>` of the command's [`ReplyTo<T, E>`].
    Answer(Box<dyn Any + Send>),
    /// The request repeats an earlier one.
    Repeated(Repeated),
}

/// The refusal of a repeated `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Repeated {
    #[error("this Idempotency-Key was used before with another body; use a new key")]
    OtherBody,
    #[error("a request with this Idempotency-Key is being carried out; repeat it later")]
    UnderWay,
    #[error("the server restarted during this request, so its outcome is unknown; check, then use a new key")]
    OutcomeUnknown,
}
