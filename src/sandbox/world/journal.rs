//! Rows that have changed since they were last stored.

use super::row::Row;
use std::collections::BTreeSet;

/// Collects changed rows; an in-memory network collects none.
#[derive(Default)]
pub(in crate::sandbox::world) struct Journal {
    changed: Option<BTreeSet<Row>>,
}

impl Journal {
    pub(in crate::sandbox::world) fn enable(&mut self) {
        self.changed = Some(BTreeSet::new());
    }

    pub(in crate::sandbox::world) fn touch(&mut self, row: impl FnOnce() -> Row) {
        if let Some(changed) = &mut self.changed {
            changed.insert(row());
        }
    }

    pub(in crate::sandbox::world) fn take(&mut self) -> BTreeSet<Row> {
        self.changed.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
