//! What follows from learning who is who: sessions move to the LID, users who have registered anew start anew, and lists that lack
//! a device are asked for (`signal-protocol.txt`, "LID migration", "Unknown device detection").

use crate::account::Children;
use crate::account::children::device_sync::{Learned, read_usync, usync_query};
use crate::account::children::session_cipher::part_key;
use crate::account::error::AccountError;
use crate::account::router::{Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::base::ids::random_hex;
use crate::storage::kind;
use crate::wire::{Jid, Node};

/// Users asked about at a time.
const MAX_ASKED: usize = 256;

impl Router {
    /// Files that a phone number and a LID are one person.
    pub(in crate::account) async fn learn_mapping<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        pn: Jid,
        lid: Jid,
    ) -> Result<(), AccountError> {
        let learned = turn.children.devices(move |devices| devices.learn_mappings(&[(pn, lid)])).await??;
        self.file(turn, learned).await
    }

    /// Takes up what was learned of users.
    pub(in crate::account) async fn file<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        learned: Learned,
    ) -> Result<(), AccountError> {
        turn.absorb(learned.writes);
        for (pn, lid) in learned.mapped {
            self.outbox.merge_lanes(&pn, &lid);
            let (moved, writes) = turn.children.sessions(move |sessions| sessions.migrate(&pn, &lid)).await??;
            turn.absorb(writes);
            if moved > 0 {
                tracing::debug!(account = %self.id, moved, "sessions have moved from a phone number to its lid");
            }
        }
        for addresses in learned.anew {
            let contact = addresses.first().cloned();
            let users = addresses.clone();
            let (_, writes) = turn.children.sessions(move |sessions| sessions.forget_users(&users)).await??;
            turn.absorb(writes);
            if let Some(contact) = contact {
                self.identity_changed(turn, &contact).await?;
            }
        }
        Ok(())
    }

    /// Moves the one session with this device from its phone number to its LID; false when there is none to move.
    pub(in crate::account) async fn migrate_session<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        device: &Jid,
    ) -> Result<bool, AccountError> {
        let named = device.clone();
        let pair = turn
            .children
            .devices(move |devices| {
                let lid = devices.canonical(&named)?;
                Ok::<_, AccountError>(devices.pn_of(&lid.bare())?.map(|pn| (pn.with_device(lid.device()), lid)))
            })
            .await??;
        let Some((pn, lid)) = pair else { return Ok(false) };
        let (moved, writes) = turn
            .children
            .sessions(move |sessions| {
                let mut writes = Default::default();
                let moved = sessions.migrate_device(&pn, &lid, &mut writes)?;
                Ok::<_, AccountError>((moved, writes))
            })
            .await??;
        turn.absorb(writes);
        Ok(moved)
    }

    /// A message has come from a device that the registry lacks: its user's list is asked for, at once, or behind the backlog.
    pub(in crate::account) async fn note_device<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        device: &Jid,
        from_backlog: bool,
    ) -> Result<bool, AccountError> {
        let asked = device.clone();
        let known = turn.children.devices(move |devices| devices.is_known(&asked)).await??;
        let user = device.bare();
        let is_asked = |purpose: &Purpose| matches!(purpose, Purpose::Refresh(users) if users.contains(&user));
        if !known && !self.pending.is_waiting(is_asked) && self.unknown_users.insert(user) && !from_backlog {
            self.ask_for_unknown(turn);
        }
        Ok(known)
    }

    /// Asks for the lists of those users that were noted.
    pub(in crate::account) fn ask_for_unknown<C>(&mut self, turn: &mut Turn<'_, C>) {
        if self.unknown_users.is_empty() || !self.connection.is_logged_in() {
            return;
        }
        let all: Vec<Jid> = std::mem::take(&mut self.unknown_users).into_iter().collect();
        for users in all.chunks(MAX_ASKED) {
            let id = self.pending.ask(Purpose::Refresh(users.to_vec()), turn.steady);
            let sid = random_hex::<8>(&mut self.rng);
            self.write(turn, usync_query(&id, &sid, users));
        }
    }

    pub(in crate::account) async fn on_refresh<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let users = read_usync(iq)?;
        let learned = turn.children.devices(move |devices| devices.learn(&users)).await??;
        self.file(turn, learned).await
    }

    /// Says under which address our own phone's session is, where an older version may have left it under the phone number.
    /// It only looks: the first message moves it.
    pub(in crate::account) fn check_own_phone(&self) -> Result<(), AccountError> {
        if let Some(session) = self.own_phone_session()? {
            tracing::debug!(account = %self.id, ?session, "the session with our own phone");
        }
        Ok(())
    }

    fn own_phone_session(&self) -> Result<Option<OwnPhone>, AccountError> {
        let Some(link) = &self.device.link else { return Ok(None) };
        let has_session = |jid: &Jid| {
            let address = jid.bare().protocol_address();
            Ok::<_, AccountError>(!self.store.scan(kind::SESSION, &part_key(&address, &[]))?.is_empty())
        };
        Ok(Some(match &link.lid {
            Some(lid) if has_session(lid)? => OwnPhone::Lid,
            _ if has_session(&link.jid)? => OwnPhone::PhoneNumberOnly,
            _ => OwnPhone::None,
        }))
    }
}

/// Where the session with our own phone is.
#[derive(Debug, PartialEq, Eq)]
enum OwnPhone {
    Lid,
    PhoneNumberOnly,
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Link, Local, Pacing, Retention, Settings, SharedVersion};
    use crate::base::ids::{AccountId, AccountKey};
    use crate::base::time::Timestamp;
    use crate::signal::testing::rng;
    use crate::signal::{JumpLimit, PublicKey};
    use crate::storage::{Batch, ChangeSet, Changes, MemoryEngine, Records, owner};
    use crate::wire::Server;
    use crate::wire::payload::ClientVersion;
    use std::sync::Arc;

    #[test]
    fn the_login_check_tells_where_the_session_with_our_own_phone_is() {
        let settings = Settings {
            root_key: PublicKey::from_bytes([9; 32]),
            version: Arc::new(SharedVersion::new(ClientVersion::DEFAULT)),
            device_name: "Wharf".into(),
            prekey_batch: 5,
            jump_limit: JumpLimit::default(),
            jump_limit_own: JumpLimit::default(),
            retention: Retention::default(),
            pacing: Arc::new(Pacing::new(100)),
        };
        let (engine, key) = (Arc::new(MemoryEngine::default()), AccountKey::from_bytes([1; 16]));
        let id = AccountId::parse("a").unwrap();
        let mut local = Local::load(id, key, engine.clone(), Arc::new(settings), rng(1)).unwrap();
        assert_eq!(local.router.own_phone_session().unwrap(), None, "nobody has linked it");
        let (pn, lid) = (Jid::pn("15550001111"), Jid::new("77", Server::Lid));
        local.router.device.link = Some(Link {
            jid: pn.with_device(2),
            lid: Some(lid.with_device(2)),
            device_identity: Vec::new(),
            push_name: String::new(),
            linked_at: Timestamp(0),
            lid_migrated: true,
        });
        let mut found = vec![local.router.own_phone_session().unwrap()];
        for jid in [pn, lid] {
            let (mut writes, mut changes, mut batch) =
                (ChangeSet::<owner::SessionCipher>::default(), Changes::default(), Batch::default());
            writes.put(kind::SESSION, part_key(&jid.protocol_address(), b"h"), [1]);
            changes.absorb(writes);
            let records = Records::new(engine.clone());
            changes.writes.into_iter().for_each(|write| records.stage(&mut batch, key, write).unwrap());
            records.engine().apply(batch).unwrap();
            found.push(local.router.own_phone_session().unwrap());
        }
        assert_eq!(found, [OwnPhone::None, OwnPhone::PhoneNumberOnly, OwnPhone::Lid].map(Some));
    }
}
