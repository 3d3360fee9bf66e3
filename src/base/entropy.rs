//! Randomness: one root generator, forked for each user.

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::{Mutex, PoisonError};

/// The root generator.
pub struct Entropy(Mutex<StdRng>);

impl Entropy {
    pub fn new(root: StdRng) -> Self {
        Self(Mutex::new(root))
    }

    /// Seeded by the operating system.
    pub fn from_system() -> Result<Self, rand::rngs::SysError> {
        StdRng::try_from_rng(&mut rand::rngs::SysRng).map(Self::new)
    }

    /// A separate generator for one user.
    pub fn fork(&self) -> StdRng {
        StdRng::from_rng(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
