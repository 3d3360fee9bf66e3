//! Our prekeys at the service: uploaded when few are left, checked at each login (`signal-protocol.txt`, "PreKey Management";
//! `wire-protocol.md` 1.10).
//!
//! One upload at a time. A batch that the service has refused is offered again as it is; one of which nothing was heard is given
//! up, for it may have been taken: no id is ever offered with two keys.

use crate::account::error::AccountError;
use crate::account::router::{Refusal, Reply, Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::account::{Children, Incident};
use crate::base::time::Monotonic;
use crate::signal::keys::KEY_TYPE;
use crate::signal::prekey::bundle_digest;
use crate::signal::{LocalParty, PreKeyId, PublicKey, SignedPreKeyId, SignedPreKeyPair};
use crate::wire::prekeys::{key_node, read_digest_ids, read_skey, skey_node};
use crate::wire::{Node, WireError};
use std::time::Duration;

const MAX_WAIT_SECS: u64 = 610;

/// What was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) struct Offer {
    pub(in crate::account) signed: SignedPreKeyId,
    /// The first one-time prekey of the batch.
    pub(in crate::account) first: PreKeyId,
    /// Its ids lie side by side.
    pub(in crate::account) count: u32,
}

/// Uploads that are still to be made.
#[derive(Debug, Default)]
pub(in crate::account) struct Uploads {
    failed: u32,
    retry_at: Option<Monotonic>,
    /// Somebody has asked for a fresh batch, whatever the service has left.
    pub(in crate::account) wanted: bool,
    /// Whether it was compared since the login.
    compared: bool,
}

impl Uploads {
    pub(in crate::account) fn deadline(&self) -> Option<Monotonic> {
        self.retry_at
    }

    /// The next login looks by itself.
    pub(in crate::account) fn disconnected(&mut self) {
        (self.retry_at, self.compared) = (None, false);
    }
}

/// 1, 2, 3, 5, 8 … seconds, at most 610.
fn wait_after(failed: u32) -> Duration {
    let (mut wait, mut next) = (1u64, 2u64);
    for _ in 1..failed.min(32) {
        (wait, next) = (next, wait + next);
    }
    Duration::from_secs(wait.min(MAX_WAIT_SECS))
}

/// What the service holds that is not as it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) enum Mismatch {
    RegistrationId,
    Identity,
    SignedPreKey,
    /// So many of the listed one-time prekeys are not here.
    MissingPreKeys(usize),
    Hash,
}

/// Compares a `<digest>` with our own keys; `listed` finds the public half of each id.
pub(in crate::account) fn compare(
    digest: &Node,
    local: &LocalParty,
    signed: &SignedPreKeyPair,
    listed: &[Option<PublicKey>],
) -> Result<Vec<Mismatch>, WireError> {
    let mut found = Vec::new();
    let registration = digest.require_child("registration")?.array("registration id")?;
    if u32::from_be_bytes(registration) != local.registration_id {
        found.push(Mismatch::RegistrationId);
    }
    let identity = local.identity.public();
    if digest.require_child("identity")?.content_bytes() != identity.0.as_bytes() {
        found.push(Mismatch::Identity);
    }
    let (id, key, _) = read_skey(digest.require_child("skey")?)?;
    if (id, &key) != (signed.id, signed.pair.public()) {
        found.push(Mismatch::SignedPreKey);
    }
    let known: Vec<&PublicKey> = listed.iter().flatten().collect();
    if known.len() < listed.len() {
        found.push(Mismatch::MissingPreKeys(listed.len() - known.len()));
    } else if found.is_empty() {
        let ours = bundle_digest(&identity, signed.pair.public(), &signed.signature, known);
        if digest.require_child("hash")?.content_bytes() != ours {
            found.push(Mismatch::Hash);
        }
    }
    Ok(found)
}

impl Router {
    /// Offers the service a batch of prekeys once it is stored.
    pub(in crate::account) async fn upload_prekeys<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
    ) -> Result<(), AccountError> {
        self.uploads.retry_at = None;
        if self.pending.is_waiting(|purpose| matches!(purpose, Purpose::PreKeyUpload(_))) {
            return Ok(());
        }
        self.uploads.wanted = false;
        self.view.prekeys_due = true;
        let batch = self.settings.prekey_batch;
        let signed = turn.children.prekeys(|keys| keys.current_signed()).await??;
        let (keys, writes) = turn.children.prekeys(move |keys| keys.batch(batch)).await??;
        turn.absorb(writes);
        self.write_upload(turn, &signed, &keys);
        Ok(())
    }

    pub(in crate::account) fn write_upload<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        signed: &SignedPreKeyPair,
        keys: &[(PreKeyId, PublicKey)],
    ) {
        let local = &self.device.local;
        let (registration_id, identity) = (local.registration_id, local.identity.public());
        let first = keys.first().map_or(PreKeyId::FIRST, |(id, _)| *id);
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let offer = Offer { signed: signed.id, first, count };
        let upload = self.ask(turn, Purpose::PreKeyUpload(offer), "encrypt", "set").children([
            Node::new("registration").bytes(registration_id.to_be_bytes()),
            Node::new("type").bytes([KEY_TYPE]),
            Node::new("identity").bytes(*identity.0.as_bytes()),
            Node::new("list").children(keys.iter().map(|(id, public)| key_node(*id, public))),
            skey_node(signed.id, signed.pair.public(), &signed.signature),
        ]);
        self.write(turn, upload);
    }

    /// The service has the batch.
    pub(in crate::account) async fn uploaded<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        offer: Offer,
    ) -> Result<(), AccountError> {
        self.uploads.failed = 0;
        self.view.prekeys_due = false;
        self.signed_prekey_taken(turn, offer.signed).await?;
        self.prekeys_replaced(turn);
        self.activate(turn);
        Ok(())
    }

    /// The service has refused the batch: the same keys are offered later.
    pub(in crate::account) async fn upload_refused<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        offer: Offer,
    ) -> Result<(), AccountError> {
        let writes = turn.children.prekeys(move |keys| keys.give_back(offer.first, offer.count)).await??;
        turn.absorb(writes);
        self.upload_failed(turn);
        Ok(())
    }

    /// The batch may have been taken or not. Without one-time prekeys peers still use the signed one.
    pub(in crate::account) fn upload_failed<C>(&mut self, turn: &mut Turn<'_, C>) {
        turn.count(Incident::PreKeysRefused);
        self.uploads.failed = self.uploads.failed.saturating_add(1);
        let wait = wait_after(self.uploads.failed);
        tracing::warn!(account = %self.id, seconds = wait.as_secs(), "prekeys were not taken: tried again");
        self.uploads.retry_at = Some(turn.steady.plus(wait));
        self.activate(turn);
    }

    pub(in crate::account) async fn tick_uploads<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
    ) -> Result<(), AccountError> {
        if self.uploads.retry_at.is_some_and(|at| at <= turn.steady) {
            self.upload_prekeys(turn).await?;
        }
        Ok(())
    }

    /// A fresh batch on request: now, or with the next login.
    pub(in crate::account) async fn refresh_prekeys<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
    ) -> Result<Reply, AccountError> {
        if self.device.link.is_none() {
            return Ok(Reply::Refused(Refusal::NotLinked));
        }
        self.uploads.wanted = true;
        if self.connection.is_logged_in() {
            self.upload_prekeys(turn).await?;
        }
        Ok(Reply::Done)
    }

    /// Asks what the service holds of our keys, once for each login, when that and the backlog are done with.
    pub(in crate::account) fn check_prekeys<C>(&mut self, turn: &mut Turn<'_, C>) {
        if self.connection.is_logged_in() && self.drain.is_over() && !self.uploads.compared {
            self.uploads.compared = true;
            self.ask_for_digest(turn);
        }
    }

    pub(in crate::account) fn ask_for_digest<C>(&mut self, turn: &mut Turn<'_, C>) {
        if !self.pending.is_waiting(|purpose| *purpose == Purpose::DigestCheck) {
            let digest = self.ask(turn, Purpose::DigestCheck, "encrypt", "get").child(Node::new("digest"));
            self.write(turn, digest);
        }
    }

    /// What differs is reported, and no more: keys that are missing here are replaced as they are used up.
    pub(in crate::account) async fn on_digest<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let digest = iq.require_child("digest")?;
        let hash = digest.require_child("hash")?.content_bytes().to_vec();
        let said = hash.clone();
        if turn.children.prekeys(move |keys| keys.is_checked(&said)).await?? {
            return Ok(());
        }
        let ids = read_digest_ids(digest)?;
        let (signed, listed) = turn
            .children
            .prekeys(move |keys| {
                let listed = ids.iter().map(|id| keys.public(*id)).collect::<Result<Vec<_>, _>>()?;
                Ok::<_, AccountError>((keys.current_signed()?, listed))
            })
            .await??;
        let found = compare(digest, &self.device.local, &signed, &listed)?;
        if found.is_empty() {
            let writes = turn.children.prekeys(move |keys| keys.checked(&hash)).await??;
            turn.absorb(writes);
        } else {
            turn.count(Incident::PreKeysDiffer);
            tracing::warn!(account = %self.id, ?found, "the service holds other keys of ours than we do");
        }
        Ok(())
    }

    /// The service holds nothing of ours: it is given everything anew. Other refusals say nothing.
    pub(in crate::account) async fn digest_refused<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        code: u64,
    ) -> Result<(), AccountError> {
        if code == 404 { self.upload_prekeys(turn).await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::IdentityKeyPair;
    use crate::signal::testing::rng;

    fn ours() -> (LocalParty, SignedPreKeyPair, PublicKey) {
        let identity = IdentityKeyPair::generate(&mut rng(1));
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &identity, &mut rng(2));
        (LocalParty { identity, registration_id: 7 }, signed, PublicKey::from_bytes([5; 32]))
    }

    fn digest(change: impl FnOnce(&mut LocalParty, &mut SignedPreKeyPair)) -> Node {
        let (mut local, mut signed, key) = ours();
        change(&mut local, &mut signed);
        let identity = local.identity.public();
        let hash = bundle_digest(&identity, signed.pair.public(), &signed.signature, [&key]);
        Node::new("digest").children([
            Node::new("registration").bytes(local.registration_id.to_be_bytes()),
            Node::new("identity").bytes(*identity.0.as_bytes()),
            skey_node(signed.id, signed.pair.public(), &signed.signature),
            Node::new("list").child(Node::new("whatever").bytes([0, 0, 1])),
            Node::new("hash").bytes(hash.to_vec()),
        ])
    }

    #[test]
    fn what_the_service_holds_otherwise_is_named() {
        let (local, signed, key) = ours();
        let found = |digest: &Node, listed: &[Option<PublicKey>]| compare(digest, &local, &signed, listed).unwrap();
        assert_eq!(found(&digest(|_, _| {}), &[Some(key)]), []);
        let other = digest(|local, _| local.registration_id = 8);
        assert_eq!(found(&other, &[Some(key)]), [Mismatch::RegistrationId]);
        let other = digest(|local, _| local.identity = IdentityKeyPair::generate(&mut rng(9)));
        assert_eq!(found(&other, &[Some(key)]), [Mismatch::Identity]);
        let other = digest(|_, signed| signed.id = signed.id.next());
        assert_eq!(found(&other, &[Some(key)]), [Mismatch::SignedPreKey]);
        assert_eq!(found(&digest(|_, _| {}), &[Some(key), None]), [Mismatch::MissingPreKeys(1)]);
        assert_eq!(found(&digest(|_, _| {}), &[Some(PublicKey::from_bytes([6; 32]))]), [Mismatch::Hash]);
        assert_eq!(read_digest_ids(&digest(|_, _| {})).unwrap(), [PreKeyId::FIRST], "whatever the child is called");
    }

    #[test]
    fn uploads_are_tried_again_after_fibonacci_seconds_up_to_610() {
        let waits: Vec<u64> = (1..=6).map(|failed| wait_after(failed).as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 5, 8, 13]);
        assert_eq!(wait_after(14).as_secs(), 610);
        assert_eq!(wait_after(1000).as_secs(), 610);
    }
}
