//! Privacy tokens: they show the service that a contact accepts messages from us (`linking-and-tokens.md` 3).

use super::{Jid, Node};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The length of a bucket: a week, in seconds.
const BUCKET: u64 = 604_800;
/// A token is valid in its own bucket and in the three that follow.
const BUCKETS: u64 = 4;

/// Whether a token that was issued at `issued`, in seconds, is still valid.
pub fn is_valid(issued: u64, now: u64) -> bool {
    issued >= (now / BUCKET).saturating_sub(BUCKETS - 1) * BUCKET
}

/// Whether a token of ours is due: none was issued in this bucket.
pub fn is_due(last_issued: Option<u64>, now: u64) -> bool {
    last_issued.is_none_or(|last| now / BUCKET > last / BUCKET)
}

/// The token for a recipient who has given us none: HMAC-SHA256 over the recipient's bare LID, keyed by the account's salt.
pub fn cold_token(salt: &[u8], recipient: &Jid) -> [u8; 32] {
    // HMAC hashes longer keys down to a block and fills shorter ones with zeros; any length is valid.
    let Ok(mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(salt) else { return [0; 32] };
    mac.chain_update(recipient.bare().to_string()).finalize().into_bytes().into()
}

/// `<tokens>` that makes a contact a trusted one since `at`, in seconds.
pub fn issue(contact: &Jid, at: u64) -> Node {
    let token = Node::new("token").attr("jid", contact.bare()).attr("t", at).attr("type", "trusted_contact");
    Node::new("tokens").child(token)
}

/// The tokens of a notification: each with its time in seconds.
pub fn read(notification: &Node) -> Vec<(u64, Vec<u8>)> {
    let tokens = notification.find("tokens").map(Node::nodes).unwrap_or_default();
    let trusted = tokens.iter().filter(|token| token.is("type", "trusted_contact"));
    trusted.filter_map(|token| Some((token.number("t")?, token.content_bytes().to_vec()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Server;

    #[test]
    fn a_cold_token_equals_the_known_answer() {
        let recipient = Jid::new("12345", Server::Lid).with_device(3);
        let expected = "678bee5d673b6b70e2c0595d889ef4899a96934176c048f126cca7fbdbffa059";
        assert_eq!(hex::encode(cold_token(&[0xcc; 32], &recipient)), expected);
    }

    #[test]
    fn a_token_is_valid_for_its_week_and_three_more_and_one_is_due_each_week() {
        let week = |n: u64| n * BUCKET;
        assert!(is_valid(week(10), week(13) + BUCKET - 1));
        assert!(!is_valid(week(10), week(14)));
        assert!(is_due(None, week(10)));
        assert!(!is_due(Some(week(10)), week(11) - 1));
        assert!(is_due(Some(week(11) - 1), week(11)));
    }
}
