//! Who a message was for: receipts and retry receipts of others count nothing (`wire-protocol.md` 1.8, 1.14).

use crate::account::directory::addresses;
use crate::account::error::AccountError;
use crate::account::groups::metadata;
use crate::account::turn::Turn;
use crate::wire::Jid;

/// True when a message to this chat was for the user: the contact, one of the listed recipients of a status, or a member of the group. A
/// member that has left since counts while it holds our sender key.
pub(super) async fn is_one(turn: &mut Turn<'_>, chat: &Jid, listed: &[Jid], user: &Jid) -> Result<bool, AccountError> {
    let names = addresses::addresses_of(turn, &user.bare()).await?;
    if names.iter().any(|name| name == chat || listed.contains(name)) {
        return Ok(true);
    }
    if !chat.is_shared() {
        return Ok(false);
    }
    let (group, holder) = (chat.clone(), names.clone());
    if turn.sender_keys(move |keys| keys.is_held_by(&group, &holder)).await? {
        return Ok(true);
    }
    let members = metadata::of(turn, chat)?.map(|meta| meta.members).unwrap_or_default();
    Ok(members
        .iter()
        .any(|member| names.contains(&member.jid) || member.other.as_ref().is_some_and(|it| names.contains(it))))
}
