//! Rows that the committer writes: events, deliveries and endpoints.

use crate::base::ids::{AccountKey, EndpointId};
use crate::base::time::Timestamp;
use crate::storage::{NewEvent, Records, StorageError, kind};
use crate::webhook::{Delivery, Endpoint};

const FORMAT: u8 = 1;
const EVENT_FORMAT: u8 = 2;

/// A delivery to be attempted; its row is durable.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub endpoint: EndpointId,
    pub position: u64,
    pub row: Delivery,
}

/// A row of the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub at: Timestamp,
    pub kind: String,
    pub body: String,
}

impl EventRow {
    pub(super) fn encode(event: &NewEvent) -> Vec<u8> {
        let length = u8::try_from(event.kind.len()).unwrap_or(u8::MAX);
        let at = event.at.0.to_be_bytes();
        [&[EVENT_FORMAT], &at[..], &[length], event.kind.as_bytes(), event.body.as_bytes()].concat()
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&EVENT_FORMAT, rest) = bytes.split_first()? else { return None };
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (kind, body) = rest.split_at_checked(usize::from(*length))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Self { at: Timestamp(u64::from_be_bytes(*at)), kind: text(kind)?, body: text(body)? })
    }
}

/// All endpoints as stored.
pub(in crate::actors) fn load_endpoints(records: &Records) -> Result<Vec<Endpoint>, StorageError> {
    let rows = records.scan(AccountKey::SERVER, kind::ENDPOINT, &[], None, usize::MAX)?;
    rows.into_iter().map(|(key, value)| decode_endpoint(&key, &value)).collect()
}

pub(in crate::actors) fn decode_endpoint(key: &[u8], value: &[u8]) -> Result<Endpoint, StorageError> {
    let corrupt = StorageError::Corrupt { kind: kind::ENDPOINT.code(), key: hex::encode(key), what: "endpoint" };
    match value.split_first() {
        Some((&FORMAT, json)) => serde_json::from_slice(json).map_err(|_| corrupt),
        _ => Err(corrupt),
    }
}

pub(super) fn encode_delivery(row: &Delivery) -> Vec<u8> {
    let mut out = vec![FORMAT];
    let written = serde_json::to_writer(&mut out, row);
    debug_assert!(written.is_ok(), "our records have string keys only");
    out
}

/// A stored delivery row.
pub(in crate::actors) fn decode_delivery(value: &[u8]) -> Option<Delivery> {
    value.split_first().filter(|(format, _)| **format == FORMAT).and_then(|(_, json)| serde_json::from_slice(json).ok())
}
