//! Requests of the control API: phones, faults, stanzas.

use super::error::WorldError;
use super::net::faults::{FaultSummary, NewFault};
use super::net::monitor::StanzaLog;
use super::phone::device::Phone;
use super::phone::message::PhoneMessage;
use super::registry::account::Account;
use super::row::Row;
use super::state::World;
use crate::wire::noise::Handshake;
use rand::RngExt;
use serde::Serialize;
use std::collections::BTreeMap;

/// A phone, as the control API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhoneSummary {
    pub number: String,
    pub lid: String,
    pub name: String,
    /// Device numbers of the linked companions.
    pub companions: Vec<u16>,
    /// Companions that are connected.
    pub online: Vec<u16>,
    /// The handshake of each companion's last login: `xx`, `ik` or `xxfallback`.
    pub handshakes: BTreeMap<u16, Handshake>,
}

impl World {
    /// Creates a phone, or finds it: a number is one phone.
    pub fn create_phone(&mut self, number: &str, name: Option<&str>) -> Result<PhoneSummary, WorldError> {
        let digits = (5..=20).contains(&number.len()) && number.bytes().all(|c| c.is_ascii_digit());
        if !digits {
            return Err(WorldError::BadNumber(number.to_owned()));
        }
        if !self.registry.contains(number) {
            let lid = self.registry.free_lid(&mut self.rng);
            let name = name.map_or_else(|| format!("Phone {number}"), str::to_owned);
            let (phone, raw_id) = (Phone::new(&mut self.rng), self.rng.random_range(1..=u32::MAX));
            self.registry.insert(Account::new(number, lid, name, phone, raw_id, self.now.secs()));
            self.touch(|| Row::Account(number.to_owned()));
            self.touch(|| Row::Phone(number.to_owned()));
        }
        self.phone(number)
    }

    pub(in crate::sandbox::world) fn require_phone(&self, number: &str) -> Result<&Account, WorldError> {
        self.registry.account(number).ok_or_else(|| WorldError::NoPhone(number.to_owned()))
    }

    pub fn phone(&self, number: &str) -> Result<PhoneSummary, WorldError> {
        let account = self.require_phone(number)?;
        let online = account.companions.iter().filter(|(_, companion)| companion.connection.is_some());
        Ok(PhoneSummary {
            number: number.to_owned(),
            lid: account.lid.to_string(),
            name: account.name.clone(),
            companions: account.companions.keys().copied().collect(),
            online: online.map(|(id, _)| *id).collect(),
            handshakes: account.companions.iter().filter_map(|(id, it)| Some((*id, it.handshake?))).collect(),
        })
    }

    pub fn phones(&self) -> Vec<PhoneSummary> {
        self.registry.accounts().filter_map(|(number, _)| self.phone(number).ok()).collect()
    }

    /// Messages that a phone has received, in order.
    pub fn phone_messages(&self, number: &str) -> Result<&[PhoneMessage], WorldError> {
        Ok(&self.require_phone(number)?.phone.messages)
    }

    pub fn add_fault(&mut self, fault: NewFault) -> FaultSummary {
        self.faults.add(fault)
    }

    /// Every requested fault, including those that no longer happen.
    pub fn faults(&self) -> Vec<FaultSummary> {
        self.faults.summaries()
    }

    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// The last stanzas, oldest first.
    pub fn stanzas(&self) -> impl Iterator<Item = &StanzaLog> {
        self.monitor.stanzas()
    }

    /// The number of a client that states only a name: equal names have equal numbers.
    pub fn number_for_name(name: &str) -> String {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(name);
        let hash = digest[..8].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        format!("1555{:07}", hash % 10_000_000)
    }
}
