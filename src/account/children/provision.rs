//! A new device: its long-term keys, and its first signed prekey.

use super::machine::Machine;
use super::prekeys::PreKeys;
use crate::account::error::AccountError;
use crate::account::own_device::OwnDevice;
use crate::storage::{AccountStore, Changes};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The stored device, or a new one with the records to be committed.
pub fn load_or_create(store: &AccountStore, rng: &mut StdRng) -> Result<(OwnDevice, Changes), AccountError> {
    match OwnDevice::load(store)? {
        Some(device) => Ok((device, Changes::default())),
        None => Ok(generate(store, rng)),
    }
}

/// The records of a new device. Those of an old one must be gone.
pub fn provision(store: &AccountStore, rng: &mut StdRng) -> Changes {
    generate(store, rng).1
}

fn generate(store: &AccountStore, rng: &mut StdRng) -> (OwnDevice, Changes) {
    let (device, mut changes) = (OwnDevice::generate(rng), Changes::default());
    changes.absorb(device.to_writes());
    let mut prekeys = PreKeys::new(store.clone(), StdRng::from_rng(rng));
    prekeys.create_signed(&device.local.identity);
    changes.absorb(prekeys.take_writes());
    (device, changes)
}
