//! Migration of sessions from a phone number to its LID (`signal-protocol.txt`, "Proactive migration at LID discovery"), and their
//! deletion.
//!
//! Invariant: a session never follows a mapping to an address with another identity.

use super::{SessionCipher, part_key};
use crate::account::error::AccountError;
use crate::base::counts::Counts;
use crate::signal::Session;
use crate::storage::kind;
use crate::wire::{Jid, Server};

/// The highest number of a device.
const MAX_DEVICE: u16 = 99;

/// What the identities of two phones say of their users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The same identity: one user.
    Same,
    Different,
    /// One of the identities is not known.
    Missing,
}

/// Outcome of a migration.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The number of migrated sessions.
    pub sessions: u32,
    /// An identity under the phone number differed from the one under the LID, and was deleted with its session.
    pub differs: bool,
}

impl SessionCipher {
    /// Compares the identities of pairs of users, by their phones.
    pub fn compare(&mut self, pairs: &[(Jid, Jid)]) -> Result<Vec<Evidence>, AccountError> {
        let mut evidence = Vec::with_capacity(pairs.len());
        for (one, other) in pairs {
            let one = self.identity(&one.bare().protocol_address())?;
            let other = self.identity(&other.bare().protocol_address())?;
            evidence.push(match (one, other) {
                (Some(one), Some(other)) if one == other => Evidence::Same,
                (Some(_), Some(_)) => Evidence::Different,
                _ => Evidence::Missing,
            });
        }
        Ok(evidence)
    }

    /// Migrates the sessions and identities stored under a phone number to its LID, for every device that the user may have.
    pub fn migrate(&mut self, pn: &Jid, lid: &Jid) -> Result<Migrated, AccountError> {
        let mut all = Migrated::default();
        if self.store.get(kind::PN_PEER, pn.user().as_bytes())?.is_some() {
            for device in 0..=MAX_DEVICE {
                let migrated = self.migrate_device(&pn.with_device(device), &lid.with_device(device))?;
                all.sessions += migrated.sessions;
                all.differs |= migrated.differs;
            }
            self.writes.delete(kind::PN_PEER, pn.user());
        }
        Ok(all)
    }

    /// Migrates one device. A session under the LID takes precedence; identities migrate separately, as they outlive sessions.
    pub fn migrate_device(&mut self, pn: &Jid, lid: &Jid) -> Result<Migrated, AccountError> {
        let (from, to) = (pn.protocol_address(), lid.protocol_address());
        let (old, known) = (self.identity(&from)?, self.identity(&to)?);
        let mut migrated = Migrated { sessions: 0, differs: old.is_some() && known.is_some() && old != known };
        if !self.session(&from)?.is_empty() {
            let rows = self.store.scan(kind::SESSION, &part_key(&from, &[]))?;
            rows.into_iter().for_each(|(key, _)| self.writes.delete(kind::SESSION, key));
            let moves = !migrated.differs && self.session(&to)?.is_empty();
            if let Some(session) = self.sessions.remove(&from) {
                for (part, mut bytes) in session.to_parts() {
                    // A session loaded under its old address may have parts that are not stored yet.
                    self.writes.delete(kind::SESSION, part_key(&from, &part.suffix()));
                    if moves {
                        self.writes.put(kind::SESSION, part_key(&to, &part.suffix()), std::mem::take(&mut *bytes));
                    }
                }
                if moves {
                    self.sessions.insert(to.clone(), Session::from_parts(session.to_parts())?);
                    migrated.sessions = 1;
                }
            }
        }
        self.sessions.remove(&from);
        if let Some(identity) = old {
            self.writes.delete(kind::IDENTITY, from.as_str());
            self.identities.remove(&from);
            if known.is_none() {
                self.remember(&to, identity)?;
            }
        }
        Ok(migrated)
    }

    /// Deletes the sessions and identities of these users, for every device they may have.
    pub fn forget_users(&mut self, users: &[Jid]) -> Result<Counts, AccountError> {
        let mut counts = Counts::default();
        for user in users.iter().filter(|user| user.server() == Server::Pn) {
            if self.store.get(kind::PN_PEER, user.user().as_bytes())?.is_some() {
                self.writes.delete(kind::PN_PEER, user.user());
            }
        }
        let devices = users.iter().flat_map(|user| (0..=MAX_DEVICE).map(|device| user.with_device(device)));
        for address in devices.map(|device| device.protocol_address()) {
            let parts = self.store.scan(kind::SESSION, &part_key(&address, &[]))?;
            counts.add("sessions", u64::from(!parts.is_empty()));
            parts.into_iter().for_each(|(key, _)| self.writes.delete(kind::SESSION, key));
            if self.identity(&address)?.is_some() {
                self.writes.delete(kind::IDENTITY, address.as_str());
                counts.add("identities", 1);
            }
            self.sessions.remove(&address);
            self.identities.remove(&address);
        }
        Ok(counts)
    }
}
