//! The machine trait: state behind one child actor, and the records that it writes.

use crate::storage::{ChangeSet, Owner};

/// The state behind one child actor.
pub trait Machine: 'static {
    type Owner: Owner + Send;
    /// Its name in errors.
    const NAME: &'static str;

    /// Takes the writes gathered since the last take.
    fn take_writes(&mut self) -> ChangeSet<Self::Owner>;

    /// Drops what can be read again from the store. Called at the beginning of a turn: what earlier ones have written is readable.
    fn rest(&mut self) {}
}
