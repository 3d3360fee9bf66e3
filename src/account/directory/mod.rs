//! Device lists, the mapping of phone numbers to LIDs, and trust in identities (`wire-protocol.md` 1.9;
//! `signal-protocol.txt`, "LID migration", "Unknown device detection").
//!
//! This room alone sends usync queries. Others call [`addresses`], [`mapping`] and [`trust`], or announce `Notice::Devices`.

pub(in crate::account) mod addresses;
pub(in crate::account) mod mapping;
pub(in crate::account) mod trust;

use crate::account::children::session_cipher::is_stored;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::feature::{Ack, Feature, Route};
use crate::account::turn::notice::{Lookup, Notice};
use crate::account::turn::requests::{Requests, Response};
use crate::base::counts::Counts;
use crate::base::ids::random_hex;
use crate::wire::proto::HistorySync;
use crate::wire::usync::{read_usync, usync_query};
use crate::wire::{Jid, Node};
use std::collections::{BTreeSet, HashSet};

/// Users of one usync query that refreshes device lists.
const MAX_REFRESHED: usize = 256;

/// This feature takes no commands.
#[derive(Debug)]
pub enum Command {}

#[derive(Debug)]
pub(in crate::account) enum Request {
    /// Devices and LIDs of these users.
    Devices(Vec<Jid>),
}

#[derive(Debug, Default)]
pub(in crate::account) struct Directory {
    requests: Requests<Request>,
    /// The users of all requests under way.
    asked: HashSet<Jid>,
    /// Users whose device list must be refreshed: a message came from a device that it lacks.
    unlisted: BTreeSet<Jid>,
    /// Users whose LID was doubted on this connection: each is queried once.
    doubted: HashSet<Jid>,
}

impl Feature for Directory {
    type Command = Command;
    type Request = Request;
    const ROUTES: &'static [Route] = &[
        Route::kind("notification", "devices"),
        Route::child("notification", "account_sync", "devices"),
        Route::child("notification", "encrypt", "identity"),
    ];
    const EVENTS: &'static [&'static str] = &[trust::CHANGED];

    fn load(_: &Context) -> Result<Self, AccountError> {
        Ok(Self::default())
    }

    fn requests(&mut self) -> &mut Requests<Request> {
        &mut self.requests
    }

    async fn command(&mut self, _: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        match command {}
    }

    async fn response(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        response: Response<'_>,
    ) -> Result<(), AccountError> {
        let Request::Devices(users) = request;
        for user in users {
            self.asked.remove(user);
        }
        let lookup = match response {
            Response::Result(iq) => {
                mapping::learn_response(turn, read_usync(iq)?).await?;
                Lookup::Known
            }
            Response::Refused(_) | Response::Missing => Lookup::Unanswered,
        };
        turn.announce(Notice::Devices { users: users.clone(), lookup });
        Ok(())
    }

    async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Ack, AccountError> {
        match node.text("type").as_deref() {
            Some("encrypt") => trust::on_identity_change(turn, node).await?,
            Some("devices") => {
                let user = node.require_jid("from")?;
                addresses::forget_devices(turn, vec![user]).await?;
            }
            _ => {
                let own = turn.own().map(|own| own.jid.bare());
                addresses::forget_devices(turn, own.into_iter().collect()).await?;
            }
        }
        Ok(Ack::Now)
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        match notice {
            Notice::LoggedIn { lid } => {
                if let (Some(pn), Some(lid)) = (turn.own().map(|own| own.jid.clone()), lid) {
                    mapping::learn(turn, vec![(pn, lid.clone())]).await?;
                }
                check_own_phone(turn)?;
            }
            Notice::Online | Notice::BacklogEnded => self.refresh_unlisted(turn),
            Notice::UnlistedDevice { device, from_backlog } => {
                let user = device.bare();
                if !self.asked.contains(&user) && self.unlisted.insert(user) && !from_backlog {
                    self.refresh_unlisted(turn);
                }
            }
            Notice::MappingDoubted { pn } if self.doubted.insert(pn.clone()) => {
                self.unlisted.insert(pn.clone());
                self.refresh_unlisted(turn);
            }
            Notice::Devices { users, lookup: Lookup::Wanted } => {
                let missing: Vec<Jid> = users.iter().filter(|user| !self.asked.contains(*user)).cloned().collect();
                if !missing.is_empty() {
                    self.ask(turn, missing);
                }
            }
            Notice::HistoryPage(history) => mapping::learn(turn, history_pairs(history)).await?,
            Notice::Disconnected => {
                self.requests.drain();
                self.asked.clear();
                self.doubted.clear();
            }
            _ => {}
        }
        Ok(())
    }

    async fn erase(&mut self, turn: &mut Turn<'_>, contact: &[Jid], counts: &mut Counts) -> Result<(), AccountError> {
        let users = contact.to_vec();
        counts.merge(turn.sessions(move |sessions| sessions.forget_users(&users)).await?);
        if let Some(user) = contact.first().cloned() {
            let (_, lists) = turn.devices(move |devices| devices.forget_user(&user)).await?;
            counts.add("device_lists", lists);
        }
        Ok(())
    }
}

impl Directory {
    fn ask(&mut self, turn: &mut Turn<'_>, users: Vec<Jid>) {
        let sid = random_hex::<8>(&mut turn.ctx.rng);
        let query = usync_query(&sid, &users);
        self.asked.extend(users.iter().cloned());
        self.requests.send(turn, Request::Devices(users), query);
    }

    fn refresh_unlisted(&mut self, turn: &mut Turn<'_>) {
        if self.unlisted.is_empty() || !turn.is_online() {
            return;
        }
        let all: Vec<Jid> = std::mem::take(&mut self.unlisted).into_iter().collect();
        for users in all.chunks(MAX_REFRESHED) {
            self.ask(turn, users.to_vec());
        }
    }
}

/// The pairs of phone number and LID in a page of history.
fn history_pairs(history: &HistorySync) -> Vec<(Jid, Jid)> {
    let pair = |pn: &str, lid: &str| Some((Jid::parse(pn).ok()?, Jid::parse(lid).ok()?));
    let mappings = history.phone_number_to_lid_mappings.iter();
    mappings.filter_map(|it| pair(it.pn_jid(), it.lid_jid())).collect()
}

/// The address under which the session with our own phone is stored.
#[derive(Debug, PartialEq, Eq)]
enum OwnPhone {
    Lid,
    /// Still stored under the phone number. Read-only check: the session is migrated when the first message is decrypted.
    PhoneNumberOnly,
    None,
}

fn own_phone(under_lid: bool, under_pn: bool) -> OwnPhone {
    match (under_lid, under_pn) {
        (true, _) => OwnPhone::Lid,
        (false, true) => OwnPhone::PhoneNumberOnly,
        (false, false) => OwnPhone::None,
    }
}

fn check_own_phone(turn: &Turn<'_>) -> Result<(), AccountError> {
    let Some(own) = turn.own() else { return Ok(()) };
    let pn = own.jid.bare().protocol_address();
    let lid = own.lid.as_ref().map(|lid| lid.bare().protocol_address());
    let under_lid = match &lid {
        Some(lid) => is_stored(&turn.ctx.store, lid)?,
        None => false,
    };
    let session = own_phone(under_lid, is_stored(&turn.ctx.store, &pn)?);
    tracing::debug!(account = %turn.ctx.id, ?session, "session with our own phone");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_check_names_the_address_of_the_session_with_our_own_phone() {
        assert_eq!(own_phone(false, false), OwnPhone::None);
        assert_eq!(own_phone(false, true), OwnPhone::PhoneNumberOnly);
        assert_eq!(own_phone(true, true), OwnPhone::Lid);
    }
}
