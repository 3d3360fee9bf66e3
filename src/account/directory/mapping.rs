//! Mapping of phone numbers to LIDs, and its consequences: sessions migrate to the LID, and reinstalled users lose theirs.

use super::trust::identity_changed;
use crate::account::children::device_sync::Learned;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::notice::Notice;
use crate::wire::Jid;

/// Stores pairs of phone number and LID.
pub(in crate::account) async fn learn(turn: &mut Turn<'_>, pairs: Vec<(Jid, Jid)>) -> Result<(), AccountError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let learned = turn.devices(move |devices| devices.learn_mappings(&pairs)).await?;
    apply(turn, learned).await
}

/// Applies new facts about users to sessions and sender keys.
pub(in crate::account) async fn apply(turn: &mut Turn<'_>, learned: Learned) -> Result<(), AccountError> {
    for (pn, lid) in learned.mapped {
        turn.announce(Notice::Mapped { pn: pn.clone(), lid: lid.clone() });
        let moved = turn.sessions(move |sessions| sessions.migrate(&pn, &lid)).await?;
        if moved > 0 {
            tracing::debug!(account = %turn.ctx.id, moved, "sessions migrated from phone number to lid");
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
    turn.sessions(move |sessions| sessions.migrate_device(&pn, &lid)).await
}
