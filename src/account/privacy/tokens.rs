//! Records of privacy tokens, and the token of an outgoing message (`linking-and-tokens.md` 3).

use crate::account::codec;
use crate::account::directory::addresses;
use crate::account::error::AccountError;
pub(super) use crate::account::proto::PrivacyToken;
use crate::account::turn::Turn;
use crate::storage::kind;
use crate::wire::{Jid, Node, Server, privacy_token};

pub(super) fn of(turn: &Turn<'_>, contact: &Jid) -> Result<PrivacyToken, AccountError> {
    let stored = turn.get(kind::PRIVACY_TOKEN, contact.to_string().as_bytes())?;
    Ok(stored.map(|bytes| codec::decode(&bytes, "privacy token")).transpose()?.unwrap_or_default())
}

pub(super) fn put(turn: &mut Turn<'_>, contact: &Jid, token: &PrivacyToken) {
    turn.put(kind::PRIVACY_TOKEN, contact.to_string(), codec::encode(token));
}

pub(super) fn learn(turn: &mut Turn<'_>, contact: &Jid, told: PrivacyToken) -> Result<(), AccountError> {
    let known = of(turn, contact)?;
    let token = merged(known.clone(), told);
    if token != known {
        put(turn, contact, &token);
    }
    Ok(())
}

/// Deletes a contact's tokens. True when there was one.
pub(super) fn erase(turn: &mut Turn<'_>, address: &Jid) -> Result<bool, AccountError> {
    let key = address.to_string();
    let is_known = turn.get(kind::PRIVACY_TOKEN, key.as_bytes())?.is_some();
    if is_known {
        turn.delete(kind::PRIVACY_TOKEN, key);
    }
    Ok(is_known)
}

/// The token that a message to one contact carries: theirs, else one of ours made with the salt, else none.
pub(in crate::account) async fn for_message(turn: &mut Turn<'_>, to: &Jid) -> Result<Option<Node>, AccountError> {
    if !to.is_user() || turn.is_own_user(to) {
        return Ok(None);
    }
    let contact = addresses::canonical(turn, &to.bare()).await?;
    let known = of(turn, &contact)?;
    if let Some(token) = known.token.clone().filter(|_| privacy_token::is_valid(known.issued(), turn.now.secs())) {
        return Ok(Some(Node::new("tctoken").bytes(token)));
    }
    let salt = turn.get(kind::TOKEN_SALT, b"")?.filter(|_| contact.server() == Server::Lid);
    Ok(salt.map(|salt| Node::new("cstoken").bytes(privacy_token::cold_token(&salt, &contact))))
}

/// Merges a known token with a new one. A token older than the known one is a late copy.
fn merged(known: PrivacyToken, told: PrivacyToken) -> PrivacyToken {
    let ours_issued = known.ours_issued.max(told.ours_issued);
    let is_newer = told.token.is_some() && (known.token.is_none() || told.issued() >= known.issued());
    PrivacyToken { ours_issued, ..if is_newer { told } else { known } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_issued_token_is_kept() {
        let token =
            |byte: u8, issued, ours_issued| PrivacyToken { token: Some(vec![byte]), issued: Some(issued), ours_issued };
        let nothing = PrivacyToken { token: None, issued: Some(9), ours_issued: Some(7) };
        assert_eq!(merged(token(1, 5, Some(3)), token(2, 6, None)), token(2, 6, Some(3)));
        assert_eq!(merged(token(1, 5, None), token(2, 4, Some(2))), token(1, 5, Some(2)), "a late copy");
        assert_eq!(merged(token(1, 5, None), nothing), token(1, 5, Some(7)));
        assert_eq!(merged(PrivacyToken::default(), token(1, 0, None)), token(1, 0, None));
    }

    #[test]
    fn a_privacy_token_has_the_golden_form() {
        let token = PrivacyToken { token: Some(vec![1, 2]), issued: Some(3), ours_issued: Some(4) };
        crate::golden::check("privacy-token-v1.hex", &codec::encode(&token));
    }
}
