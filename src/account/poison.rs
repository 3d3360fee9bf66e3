//! Poison stanzas: those that bring the account down (`architecture.md`, "Supervision"). The service delivers an unacknowledged stanza
//! again on every connection, so each panic is counted outside the turn, and the stanza is skipped after the second.

use crate::base::time::Timestamp;
use crate::storage::{AccountStore, ChangeSet, StorageError, kind, owner};
use crate::wire::Node;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

const FORMAT: u8 = 2;
/// Panics after which a stanza is skipped.
const TOLERATED: u8 = 2;
/// A hash of a stanza that is equal for every delivery of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StanzaFingerprint([u8; 16]);

impl StanzaFingerprint {
    /// `None` for stanzas that are not delivered again.
    pub fn of(node: &Node) -> Option<Self> {
        if !matches!(node.tag.as_ref(), "message" | "receipt" | "notification") {
            return None;
        }
        let mut hash = Sha256::new();
        // Another delivery may differ in its time and its `offline` attribute only.
        for part in [Some(node.tag.clone()), node.text("from"), node.text("participant"), node.text("id")] {
            let part = part.unwrap_or_default();
            hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        for enc in node.all("enc") {
            hash.update(Sha256::digest(enc.content_bytes()));
        }
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        Some(Self(short))
    }
}

/// Panics by stanza.
#[derive(Debug, Default)]
pub struct Poison(HashMap<StanzaFingerprint, u8>);

impl Poison {
    pub fn load(store: &AccountStore) -> Result<Self, StorageError> {
        let rows = store.scan(kind::POISON, b"")?;
        let counted = rows.into_iter().filter_map(|(key, value)| {
            Some((StanzaFingerprint(key.try_into().ok()?), value.get(1).copied().unwrap_or_default()))
        });
        Ok(Self(counted.collect()))
    }

    /// True when the stanza is to be skipped.
    pub fn has(&self, print: StanzaFingerprint) -> bool {
        self.0.get(&print).is_some_and(|count| *count >= TOLERATED)
    }

    /// Counts one more panic: to be committed before the account is reloaded.
    pub fn count(&mut self, print: StanzaFingerprint, now: Timestamp) -> ChangeSet<owner::Frame> {
        let count = self.0.entry(print).or_default();
        *count = count.saturating_add(1);
        let mut writes = ChangeSet::default();
        writes.put(kind::POISON, print.0, [&[FORMAT, *count], &now.0.to_be_bytes()[..]].concat());
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::AccountKey;
    use crate::storage::{Changes, MemoryEngine, Overlay, Records};
    use std::sync::Arc;

    fn message(id: &'static str, text: u8) -> Node {
        let enc = Node::new("enc").attr("type", "msg").bytes(vec![text; 8]);
        Node::new("message").attr("from", "1@s.whatsapp.net").attr("id", id).child(enc)
    }

    #[test]
    fn stanza_fingerprint_is_equal_for_every_delivery() {
        let print = |node: &Node| StanzaFingerprint::of(node);
        assert_eq!(print(&message("A", 1)), print(&message("A", 1).attr("offline", "1").attr("t", "99")));
        assert_ne!(print(&message("A", 1)), print(&message("B", 1)));
        assert_ne!(print(&message("A", 1)), print(&message("A", 2)));
        assert_eq!(print(&Node::new("iq").attr("id", "A")), None, "an answer is not delivered again");
    }

    #[test]
    fn poison_count_survives_a_restart_and_the_second_panic_is_the_last() {
        let overlay = Overlay::default();
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let store = AccountStore::new(records, AccountKey::from_bytes([1; 16]), overlay.clone());
        let print = StanzaFingerprint::of(&message("A", 1)).unwrap();
        for expected in [false, true] {
            let mut poison = Poison::load(&store).unwrap();
            let mut changes = Changes::default();
            changes.absorb(poison.count(print, Timestamp(1)));
            overlay.pin(1, &changes);
            assert_eq!(Poison::load(&store).unwrap().has(print), expected);
        }
        assert!(!Poison::load(&store).unwrap().has(StanzaFingerprint::of(&message("B", 1)).unwrap()));
    }
}
