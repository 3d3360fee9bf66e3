//! The stored form of the service's keys.

use super::fields::pair;
use super::proto;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::net::identity::ServiceKeys;
use prost::Message as _;

pub(super) fn read_keys(row: &[u8]) -> Result<ServiceKeys, WorldError> {
    let row = proto::Service::decode(row).map_err(|_| WorldError::Unreadable("the service's keys"))?;
    Ok(ServiceKeys { root: pair(row.root())?, intermediate: pair(row.intermediate())?, noise: pair(row.noise())? })
}

pub(super) fn write_keys(keys: &ServiceKeys) -> Vec<u8> {
    proto::Service {
        root: Some(keys.root.secret().expose().to_vec()),
        intermediate: Some(keys.intermediate.secret().expose().to_vec()),
        noise: Some(keys.noise.secret().expose().to_vec()),
    }
    .encode_to_vec()
}
