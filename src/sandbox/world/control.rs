//! What the control API asks of the world.

use super::phone::{Phone, PhoneMedia};
use super::{World, WorldError};
use crate::base::time::Timestamp;
use crate::sandbox::world::directory::settings::Settings;
use crate::sandbox::world::persistence::rows::Row;
use crate::sandbox::world::registry::account::Account;
use crate::signal::SignalError;
use crate::wire::noise::Handshake;
use crate::wire::{Jid, Server};
use rand::RngExt;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// A phone, as the control API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhoneSummary {
    pub number: String,
    pub lid: String,
    pub name: String,
    /// Linked companions, by device number.
    pub companions: Vec<u16>,
    /// Those that are connected now.
    pub online: Vec<u16>,
    /// How each of them last logged in: `xx`, `ik`, or `xxfallback`.
    pub handshakes: BTreeMap<u16, Handshake>,
}

/// A message that a phone has decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhoneMessage {
    pub id: String,
    pub chat: String,
    pub from: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub text: Option<String>,
    /// The message that a reaction, an edit or a revocation is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<PhoneMedia>,
    /// What it quotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<PhoneContext>,
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// How many copies the phone was sent; more than one is harmless, and shows redelivery.
    pub copies: u32,
}

/// A quoted message, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhoneContext {
    pub message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl PhoneMessage {
    pub(super) fn undecryptable(id: &str, from: &Jid, at: Timestamp, error: &SignalError) -> Self {
        Self {
            id: id.to_owned(),
            chat: from.bare().to_string(),
            from: from.to_string(),
            kind: "undecryptable",
            text: Some(error.to_string()),
            target: None,
            media: None,
            context: None,
            at,
            copies: 1,
        }
    }
}

/// A stanza that passed through the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StanzaLog {
    pub number: u64,
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// `sent` or `received`, as the service sees it.
    pub direction: &'static str,
    pub device: Option<String>,
    pub stanza: String,
}

fn rfc3339<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&at.rfc3339())
}

pub(super) fn rfc3339_if_any<S: Serializer>(at: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => s.serialize_some(&at.rfc3339()),
        None => s.serialize_none(),
    }
}

impl World {
    /// Creates a phone, or finds it: a number is one phone.
    pub fn create_phone(&mut self, number: &str, name: Option<&str>) -> Result<PhoneSummary, WorldError> {
        let digits = (5..=20).contains(&number.len()) && number.bytes().all(|c| c.is_ascii_digit());
        if !digits {
            return Err(WorldError::BadNumber(number.to_owned()));
        }
        if !self.accounts.contains_key(number) {
            let lid = loop {
                let lid: u64 = self.rng.random_range(100_000_000_000_000..=999_999_999_999_999);
                if !self.numbers_by_lid.contains_key(&lid.to_string()) {
                    break lid.to_string();
                }
            };
            self.numbers_by_lid.insert(lid.clone(), number.to_owned());
            let account = Account {
                pn: Jid::pn(number),
                lid: Jid::new(lid, Server::Lid),
                name: name.map_or_else(|| format!("Phone {number}"), str::to_owned),
                phone: Phone::new(&mut self.rng),
                companions: BTreeMap::new(),
                last_device: 0,
                last_key_index: 0,
                acquaintances: BTreeSet::new(),
                watchers: BTreeSet::new(),
                settings: Settings::default(),
                app_state: BTreeMap::new(),
                raw_id: self.rng.random_range(1..=u32::MAX),
                created: self.now.secs(),
            };
            self.accounts.insert(number.to_owned(), account);
            self.touch(|| Row::Account(number.to_owned()));
            self.touch(|| Row::Phone(number.to_owned()));
        }
        self.phone(number)
    }

    pub fn phone(&self, number: &str) -> Result<PhoneSummary, WorldError> {
        let account = self.accounts.get(number).ok_or_else(|| WorldError::NoPhone(number.to_owned()))?;
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
        self.accounts.keys().filter_map(|number| self.phone(number).ok()).collect()
    }

    /// What a phone has decrypted, in order.
    pub fn phone_messages(&self, number: &str) -> Result<&[PhoneMessage], WorldError> {
        let account = self.accounts.get(number).ok_or_else(|| WorldError::NoPhone(number.to_owned()))?;
        Ok(&account.phone.messages)
    }

    /// The last stanzas, oldest first.
    pub fn stanzas(&self) -> impl Iterator<Item = &StanzaLog> {
        self.stanzas.iter()
    }

    /// A number for a client that only shows a name: the same name, the same number.
    pub fn number_for_name(name: &str) -> String {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(name);
        let hash = digest[..8].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        format!("1555{:07}", hash % 10_000_000)
    }
}
