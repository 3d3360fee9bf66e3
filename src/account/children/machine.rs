//! A machine: the state behind one child actor.

use crate::storage::{ChangeSet, Owner};

/// The state behind one child actor.
pub trait Machine: 'static {
    type Owner: Owner + Send;
    /// Its name in errors.
    const NAME: &'static str;

    /// Takes what the calls since the last take have written.
    fn take_writes(&mut self) -> ChangeSet<Self::Owner>;
}
