//! Requested faults (`api.md`, "Sandbox control"): each concerns the linked devices of one account or of all, for a number of
//! times or until a point in time. Its decisions follow from its seed.

use crate::base::time::Timestamp;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::rfc3339;
use crate::wire::Node;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum FaultKind {
    /// A stanza for a device is not sent: it is delivered with the next login.
    Drop,
    /// A stanza for a device is sent up to so many milliseconds later.
    Delay { ms: u64 },
    /// A stanza for a device is sent twice.
    Duplicate,
    /// A stanza for a device is sent after the next one, or after two seconds.
    Reorder,
    /// The connection is closed when the device sends a message: before the service has accepted it, or after.
    Disconnect,
    /// A message is rejected: its acknowledgement carries this error.
    Refuse { code: u16 },
    /// The device list of the account lacks the newest device.
    StaleDevices,
    /// Bundles of the account are served without a one-time prekey.
    EmptyPrekeys,
    /// One bit of a ciphertext for a device is flipped.
    Corrupt,
    /// The backlog of a login is sent only in requested batches, after the first five stanzas.
    Pull,
    /// The backlog of a login is announced but not sent.
    Hold,
    /// An upload of prekeys is rejected.
    RefusePrekeys { code: u16 },
    /// A query of the key digest is rejected.
    RefuseDigest { code: u16 },
    /// A message of a device is neither accepted nor acknowledged.
    Swallow,
    /// The stream of a device that sends a message ends with this code.
    StreamError { code: u16 },
}

/// A requested fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewFault {
    #[serde(flatten)]
    pub kind: FaultKind,
    /// The number of the account; without it, all accounts.
    pub account: Option<String>,
    /// How often it happens; without it and without `until`, once.
    pub count: Option<u32>,
    #[serde(serialize_with = "rfc3339::optional")]
    pub until: Option<Timestamp>,
    pub seed: u64,
}

/// A fault as the control API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultSummary {
    pub id: u64,
    #[serde(flatten)]
    pub fault: NewFault,
    /// How often it has happened.
    pub hits: u32,
}

struct Fault {
    id: u64,
    fault: NewFault,
    rng: StdRng,
    hits: u32,
}

impl Fault {
    fn is_due(&self, number: &str, now: Timestamp) -> bool {
        self.fault.account.as_deref().is_none_or(|account| account == number)
            && self.fault.count.is_none_or(|count| self.hits < count)
            && self.fault.until.is_none_or(|until| now < until)
    }
}

/// All requested faults, and the stanzas that a `reorder` holds back.
#[derive(Default)]
pub(in crate::sandbox::world) struct Faults {
    faults: Vec<Fault>,
    added: u64,
    held: Vec<(DeviceId, Node)>,
}

impl Faults {
    pub(in crate::sandbox::world) fn add(&mut self, mut fault: NewFault) -> FaultSummary {
        if fault.until.is_none() {
            fault.count.get_or_insert(1);
        }
        self.added += 1;
        let rng = StdRng::seed_from_u64(fault.seed);
        self.faults.push(Fault { id: self.added, fault: fault.clone(), rng, hits: 0 });
        FaultSummary { id: self.added, fault, hits: 0 }
    }

    /// Every fault, including those that no longer happen.
    pub(in crate::sandbox::world) fn summaries(&self) -> Vec<FaultSummary> {
        let summary = |it: &Fault| FaultSummary { id: it.id, fault: it.fault.clone(), hits: it.hits };
        self.faults.iter().map(summary).collect()
    }

    pub(in crate::sandbox::world) fn clear(&mut self) {
        self.faults.clear();
    }

    /// Counts the first due fault of an account that `wanted` accepts as happened: returns its kind and a random number.
    pub(in crate::sandbox::world) fn hit(
        &mut self,
        number: &str,
        now: Timestamp,
        wanted: impl Fn(FaultKind) -> bool,
    ) -> Option<(FaultKind, u64)> {
        let fault = self.faults.iter_mut().find(|it| wanted(it.fault.kind) && it.is_due(number, now))?;
        fault.hits += 1;
        Some((fault.fault.kind, fault.rng.random()))
    }

    pub(in crate::sandbox::world) fn hold(&mut self, device: DeviceId, node: Node) {
        self.held.push((device, node));
    }

    pub(in crate::sandbox::world) fn release(&mut self, device: &DeviceId) -> Vec<Node> {
        self.held.extract_if(.., |(to, _)| to == device).map(|(_, node)| node).collect()
    }
}
