//! The last stanzas, for `GET /stanzas` and for tests.

use crate::base::time::Timestamp;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::rfc3339;
use crate::wire::Node;
use serde::Serialize;
use std::collections::VecDeque;

const STANZAS: usize = 1000;

/// A stanza that passed through the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StanzaLog {
    pub number: u64,
    #[serde(serialize_with = "rfc3339::required")]
    pub at: Timestamp,
    /// `sent` or `received`, as the service sees it.
    pub direction: &'static str,
    pub device: Option<String>,
    pub stanza: String,
}

/// Sees every stanza that a linked device sends, with the device as `number:device`.
pub type Tap = Box<dyn FnMut(&str, &Node) + Send>;

#[derive(Default)]
pub(in crate::sandbox::world) struct Monitor {
    stanzas: VecDeque<StanzaLog>,
    count: u64,
    tap: Option<Tap>,
}

impl Monitor {
    pub(in crate::sandbox::world) fn set_tap(&mut self, tap: Tap) {
        self.tap = Some(tap);
    }

    pub(in crate::sandbox::world) fn stanzas(&self) -> impl Iterator<Item = &StanzaLog> {
        self.stanzas.iter()
    }

    pub(in crate::sandbox::world) fn received(&mut self, at: Timestamp, device: Option<&DeviceId>, node: &Node) {
        if let (Some(tap), Some(device)) = (&mut self.tap, device) {
            tap(&name(device), node);
        }
        self.log("received", at, device, node);
    }

    pub(in crate::sandbox::world) fn sent(&mut self, at: Timestamp, device: Option<&DeviceId>, node: &Node) {
        self.log("sent", at, device, node);
    }

    fn log(&mut self, direction: &'static str, at: Timestamp, device: Option<&DeviceId>, node: &Node) {
        self.count += 1;
        let (number, device) = (self.count, device.map(name));
        self.stanzas.push_back(StanzaLog { number, at, direction, device, stanza: node.to_string() });
        if self.stanzas.len() > STANZAS {
            self.stanzas.pop_front();
        }
    }
}

fn name(device: &DeviceId) -> String {
    format!("{}:{}", device.number, device.device)
}
