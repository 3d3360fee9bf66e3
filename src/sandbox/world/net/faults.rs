//! What goes wrong on request (`api.md`, "Sandbox control"): each fault concerns one account's linked devices, or all of them, for a
//! number of times or until a point in time. What it decides follows from its seed.

use crate::base::time::Timestamp;
use crate::sandbox::world::{Action, DeviceId, World};
use crate::wire::{Content, Node};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum FaultKind {
    /// What a device should be sent is not: it comes with the next login.
    Drop,
    /// What a device is sent comes up to so many milliseconds later.
    Delay { ms: u64 },
    /// What a device is sent comes twice.
    Duplicate,
    /// What a device is sent comes after the next one, or after two seconds.
    Reorder,
    /// The connection is cut when the device sends a message: before the service has taken it, or behind it.
    Disconnect,
    /// A message is not taken, and acknowledged with this error.
    Refuse { code: u16 },
    /// The list of an account's devices lacks the newest one.
    StaleDevices,
    /// Prekeys of the account are served without a one-time prekey.
    EmptyPrekeys,
    /// A ciphertext for a device has a bit that is another.
    Corrupt,
    /// What waited for a login comes only as it is asked for, after the first five.
    Pull,
    /// What waited for a login is announced, and does not come.
    Hold,
    /// Prekeys of a device are not taken.
    RefusePrekeys { code: u16 },
    /// A device is not told what the service holds of its keys.
    RefuseDigest { code: u16 },
    /// A message of a device is neither taken nor acknowledged.
    Swallow,
    /// The stream of a device that sends a message is ended with this code.
    StreamError { code: u16 },
}

/// A fault that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewFault {
    #[serde(flatten)]
    pub kind: FaultKind,
    /// The number of the account; all when there is none.
    pub account: Option<String>,
    /// How often it happens; without it and without an end, once.
    pub count: Option<u32>,
    #[serde(serialize_with = "crate::sandbox::world::control::rfc3339_if_any")]
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

pub(in crate::sandbox::world) struct Fault {
    id: u64,
    fault: NewFault,
    rng: StdRng,
    hits: u32,
}

/// Behind the next one, but not later than this.
const REORDERED_BY: Duration = Duration::from_secs(2);

impl World {
    /// Adds a fault; returns how it is shown.
    pub fn add_fault(&mut self, mut fault: NewFault) -> FaultSummary {
        if fault.until.is_none() {
            fault.count.get_or_insert(1);
        }
        self.faults_seen += 1;
        let rng = StdRng::seed_from_u64(fault.seed);
        self.faults.push(Fault { id: self.faults_seen, fault: fault.clone(), rng, hits: 0 });
        FaultSummary { id: self.faults_seen, fault, hits: 0 }
    }

    /// All faults that were asked for, also those that have happened.
    pub fn faults(&self) -> Vec<FaultSummary> {
        let summary = |it: &Fault| FaultSummary { id: it.id, fault: it.fault.clone(), hits: it.hits };
        self.faults.iter().map(summary).collect()
    }

    /// Nothing goes wrong any more.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// The first fault of an account that `wanted` takes and that is due: it counts as happened.
    pub(in crate::sandbox::world) fn fault(
        &mut self,
        number: &str,
        wanted: impl Fn(FaultKind) -> bool,
    ) -> Option<(FaultKind, u64)> {
        let now = self.now;
        let due = |it: &&mut Fault| {
            wanted(it.fault.kind)
                && it.fault.account.as_deref().is_none_or(|account| account == number)
                && it.fault.count.is_none_or(|count| it.hits < count)
                && it.fault.until.is_none_or(|until| now < until)
        };
        let fault = self.faults.iter_mut().find(due)?;
        fault.hits += 1;
        Some((fault.fault.kind, fault.rng.random()))
    }

    /// Delivers to a linked device, or does what a fault makes of it.
    pub(in crate::sandbox::world) fn deliver_with_faults(&mut self, device: &DeviceId, mut node: Node) {
        if node.find("enc").is_some()
            && let Some((_, chance)) = self.fault(&device.number, |kind| kind == FaultKind::Corrupt)
        {
            corrupt(&mut node, chance);
        }
        let on_its_way = |kind| {
            matches!(kind, FaultKind::Drop | FaultKind::Delay { .. } | FaultKind::Duplicate | FaultKind::Reorder)
        };
        match self.fault(&device.number, on_its_way) {
            Some((FaultKind::Drop, _)) => self.keep(device, node),
            Some((FaultKind::Delay { ms }, chance)) => {
                let wait = Duration::from_millis(chance % ms.saturating_add(1));
                self.after(wait, Action::DeliverNow(device.clone(), Box::new(node)));
            }
            Some((FaultKind::Duplicate, _)) => {
                self.deliver_now(device, node.clone());
                self.send_again(device, &node);
            }
            Some((FaultKind::Reorder, _)) => {
                self.held.push((device.clone(), node));
                self.after(REORDERED_BY, Action::Release(device.clone()));
            }
            _ => {
                self.deliver_now(device, node);
                self.release(device);
            }
        }
    }

    /// What was held back behind the next one is sent.
    pub(in crate::sandbox::world) fn release(&mut self, device: &DeviceId) {
        let held: Vec<_> = self.held.extract_if(.., |(to, _)| to == device).collect();
        for (_, node) in held {
            self.deliver_now(device, node);
        }
    }

    /// The list of an account's devices, without the newest where that is to go wrong.
    pub(in crate::sandbox::world) fn is_stale(&mut self, number: &str) -> bool {
        self.fault(number, |kind| kind == FaultKind::StaleDevices).is_some()
    }

    pub(in crate::sandbox::world) fn is_without_prekeys(&mut self, number: &str) -> bool {
        self.fault(number, |kind| kind == FaultKind::EmptyPrekeys).is_some()
    }
}

/// Another bit in the last ciphertext.
fn corrupt(node: &mut Node, chance: u64) {
    let Content::Nodes(children) = &mut node.content else { return };
    let Some(enc) = children.iter_mut().rfind(|child| child.tag == "enc") else { return };
    if let Content::Bytes(bytes) = &mut enc.content
        && let Some(at) = usize::try_from(chance).ok().and_then(|chance| chance.checked_rem(bytes.len()))
    {
        bytes[at] ^= 1 << (chance >> 61);
    }
}
