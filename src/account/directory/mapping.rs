//! Mapping of phone numbers to LIDs, and its consequences: sessions migrate to the LID, and reinstalled users lose theirs.
//!
//! Invariant: a pair that contradicts what is known is stored only when it is proved: the service named it when we asked, or the phones
//! under both addresses have the same identity.

use super::trust::{identity_changed, lid_changed};
use crate::account::children::device_sync::{Claim, Learned};
use crate::account::children::session_cipher::Evidence;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::notice::Notice;
use crate::wire::Jid;
use crate::wire::usync::UsyncUser;

/// Learns pairs of phone number and LID that a stanza names. A doubtful one is queried.
pub(in crate::account) async fn learn(turn: &mut Turn<'_>, mut pairs: Vec<(Jid, Jid)>) -> Result<(), AccountError> {
    pairs.retain(|(pn, lid)| !names_us_beside_another(turn, pn, lid));
    if pairs.is_empty() {
        return Ok(());
    }
    let claimed = turn
        .devices(move |devices| {
            let claims = devices.claims(&pairs)?;
            let mut claimed = Vec::new();
            for ((pn, lid), claim) in pairs.into_iter().zip(claims).filter(|(_, claim)| *claim != Claim::Known) {
                let canonical = devices.canonical(&pn.bare())?;
                claimed.push((pn.bare(), lid.bare(), canonical, claim));
            }
            Ok(claimed)
        })
        .await?;
    if claimed.is_empty() {
        return Ok(());
    }
    let phones: Vec<(Jid, Jid)> = claimed.iter().map(|(_, lid, known, _)| (known.clone(), lid.clone())).collect();
    let evidence = turn.sessions(move |sessions| sessions.compare(&phones)).await?;
    let mut believed = Vec::new();
    for ((pn, lid, _, claim), evidence) in claimed.into_iter().zip(evidence) {
        match (claim, evidence) {
            (_, Evidence::Same) | (Claim::New, Evidence::Missing) => believed.push((pn, lid)),
            _ => {
                tracing::warn!(account = %turn.ctx.id, user = %pn.redacted(), "doubtful lid of a phone number is queried");
                turn.announce(Notice::MappingDoubted { pn });
            }
        }
    }
    if believed.is_empty() {
        return Ok(());
    }
    let learned = turn.devices(move |devices| devices.learn_mappings(&believed)).await?;
    apply(turn, learned).await
}

/// Learns a usync response.
pub(in crate::account) async fn learn_response(
    turn: &mut Turn<'_>,
    mut users: Vec<UsyncUser>,
) -> Result<(), AccountError> {
    for user in &mut users {
        user.lid = user.lid.take().filter(|lid| !names_us_beside_another(turn, &user.user, lid));
    }
    let learned = turn.devices(move |devices| devices.learn(&users)).await?;
    apply(turn, learned).await
}

/// Our own number and LID are known from linking: nobody else has either.
fn names_us_beside_another(turn: &Turn<'_>, pn: &Jid, lid: &Jid) -> bool {
    let own = turn.own().filter(|own| own.lid.is_some());
    own.is_some_and(|own| own.is_own_user(pn) != own.is_own_user(lid))
}

/// Applies new facts about users to sessions and sender keys.
async fn apply(turn: &mut Turn<'_>, learned: Learned) -> Result<(), AccountError> {
    for change in learned.changed {
        lid_changed(turn, change).await?;
    }
    for (pn, lid) in learned.mapped {
        turn.announce(Notice::Mapped { pn: pn.clone(), lid: lid.clone() });
        let user = pn.clone();
        let migrated = turn.sessions(move |sessions| sessions.migrate(&pn, &lid)).await?;
        if migrated.sessions > 0 {
            let moved = migrated.sessions;
            tracing::debug!(account = %turn.ctx.id, moved, "sessions migrated from phone number to lid");
        }
        if migrated.differs {
            identity_changed(turn, &user).await?;
        }
    }
    for addresses in learned.reinstalled {
        let contact = addresses.first().cloned();
        turn.sessions(move |sessions| sessions.forget_users(&addresses)).await?;
        if let Some(contact) = contact {
            identity_changed(turn, &contact).await?;
        }
    }
    Ok(())
}

/// Migrates the session with one device from its phone number to its LID. False when there is none to migrate.
pub(in crate::account) async fn migrate_session(turn: &mut Turn<'_>, device: &Jid) -> Result<bool, AccountError> {
    let named = device.clone();
    let pair = turn
        .devices(move |devices| {
            let lid = devices.canonical(&named)?;
            Ok(devices.pn_of(&lid.bare())?.map(|pn| (pn.with_device(lid.device()), lid)))
        })
        .await?;
    let Some((pn, lid)) = pair else { return Ok(false) };
    Ok(turn.sessions(move |sessions| sessions.migrate_device(&pn, &lid)).await?.sessions > 0)
}
