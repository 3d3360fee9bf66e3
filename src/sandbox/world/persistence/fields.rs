//! Fields that several stored forms share.

use super::proto;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::DeviceId;
use crate::signal::{KeyPair, PublicKey, SecretKey};
use crate::wire::Jid;

pub(super) fn read_jid(text: &str) -> Result<Jid, WorldError> {
    Jid::parse(text).map_err(|_| WorldError::Unreadable("a jid"))
}

pub(super) fn device_id(number: &str, device: &str) -> Result<DeviceId, WorldError> {
    let device = device.parse().map_err(|_| WorldError::Unreadable("a device number"))?;
    Ok(DeviceId { number: number.to_owned(), device })
}

pub(super) fn write_device(device: &DeviceId) -> proto::Device {
    proto::Device { number: Some(device.number.clone()), device: Some(u32::from(device.device)) }
}

pub(super) fn read_device(device: &proto::Device) -> DeviceId {
    DeviceId { number: device.number().to_owned(), device: u16::try_from(device.device()).unwrap_or_default() }
}

pub(super) fn pair(bytes: &[u8]) -> Result<KeyPair, WorldError> {
    let secret = SecretKey::parse(bytes, "kept key").map_err(|_| WorldError::Unreadable("a key"))?;
    Ok(KeyPair::from_secret(secret))
}

pub(super) fn public(bytes: &[u8]) -> Result<PublicKey, WorldError> {
    PublicKey::parse(bytes, "kept key").map_err(|_| WorldError::Unreadable("a key"))
}

pub(super) fn number_of_id([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}
