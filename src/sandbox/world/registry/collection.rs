//! A collection of an account's app state: encrypted patches.

#[derive(Debug, Default)]
pub(in crate::sandbox::world) struct Collection {
    patches: Vec<Vec<u8>>,
}

impl Collection {
    /// The number of patches.
    pub(in crate::sandbox::world) fn version(&self) -> usize {
        self.patches.len()
    }

    pub(in crate::sandbox::world) fn push(&mut self, patch: Vec<u8>) {
        self.patches.push(patch);
    }

    /// The patch that led to a version.
    pub(in crate::sandbox::world) fn patch(&self, version: usize) -> Option<&Vec<u8>> {
        self.patches.get(version.checked_sub(1)?)
    }

    pub(in crate::sandbox::world) fn patches_after(&self, version: usize) -> impl Iterator<Item = &Vec<u8>> {
        self.patches.iter().skip(version)
    }
}
