//! Trust in identities: a companion's is verified by its phone's signature, and a changed one is an event.

use super::addresses::{addresses_of, display_address, forget_devices, protocol_address, protocol_addresses};
use crate::account::children::device_sync::LidChange;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::counter::Counter;
use crate::account::turn::event::Event;
use crate::account::turn::notice::Notice;
use crate::signal::{IdentityKey, PreKeyBundle, VerifiedBundle};
use crate::wire::{Jid, Node, WireError, adv};
use serde::Serialize;
use std::collections::HashMap;

pub(super) const CHANGED: &str = IdentityChanged::TYPE;

#[derive(Serialize)]
struct IdentityChanged {
    contact: String,
}

impl Event for IdentityChanged {
    const TYPE: &'static str = "identity.changed";

    fn chat(&self) -> &str {
        &self.contact
    }
}

/// Trusts a contact's new identity and reports it. The contact's devices are removed from the holders of our sender keys.
pub(in crate::account) async fn identity_changed(turn: &mut Turn<'_>, device: &Jid) -> Result<(), AccountError> {
    turn.count(Counter::IdentityChanged);
    let addresses = addresses_of(turn, &device.bare()).await?;
    turn.sender_keys(move |keys| keys.forget_member(&addresses)).await?;
    turn.announce(Notice::IdentityChanged { device: device.clone() });
    let contact = display_address(turn, &device.bare()).await?;
    turn.event(&IdentityChanged { contact });
    Ok(())
}

/// A contact's phone number leads to another LID: the sessions under the old one are void, and the change is reported.
pub(super) async fn lid_changed(turn: &mut Turn<'_>, change: LidChange) -> Result<(), AccountError> {
    let before = vec![change.before];
    let old = before.clone();
    turn.sessions(move |sessions| sessions.forget_users(&old)).await?;
    turn.sender_keys(move |keys| keys.forget_member(&before)).await?;
    identity_changed(turn, &change.pn).await
}

/// `<notification type=encrypt><identity/>`: a contact reinstalled. Its sessions are void.
pub(super) async fn on_identity_change(turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
    let user = node.require_jid("from")?.bare();
    if !user.is_user() || turn.is_own_user(&user) {
        return Ok(());
    }
    let addresses = addresses_of(turn, &user).await?;
    let forgotten = turn.sessions(move |sessions| sessions.forget_users(&addresses)).await?;
    forget_devices(turn, vec![user.clone()]).await?;
    if !forgotten.is_empty() {
        identity_changed(turn, &user).await?;
    }
    Ok(())
}

/// The trusted identity of a device's phone.
async fn phone_identity(turn: &mut Turn<'_>, device: &Jid) -> Result<Option<IdentityKey>, AccountError> {
    let phone = protocol_address(turn, &device.bare()).await?;
    turn.sessions(move |sessions| sessions.identity(&phone)).await
}

/// True when we know an identity of this device or of its phone.
pub(in crate::account) async fn knows(turn: &mut Turn<'_>, device: &Jid) -> Result<bool, AccountError> {
    let addresses = protocol_addresses(turn, &[device.clone(), device.bare()]).await?;
    let known = turn.sessions(move |sessions| sessions.identities(&addresses)).await?;
    Ok(known.iter().any(Option::is_some))
}

/// A bundle to be verified, with the device identity that came with it.
pub(in crate::account) struct Offered {
    pub(in crate::account) device: Jid,
    pub(in crate::account) bundle: PreKeyBundle,
    pub(in crate::account) device_identity: Option<Vec<u8>>,
}

/// Verifies bundles: their signed prekeys' signatures and, for companions, their phones' signatures. `Err` says what is wrong. The phone
/// is the one that we know, or the one whose bundle came along.
pub(in crate::account) async fn verify_bundles(
    turn: &mut Turn<'_>,
    offered: Vec<Offered>,
) -> Result<Vec<(Jid, Result<VerifiedBundle, String>)>, AccountError> {
    let is_companion = |offered: &Offered| offered.device.device() != 0;
    let users: Vec<Jid> = offered.iter().filter(|offered| is_companion(offered)).map(|it| it.device.bare()).collect();
    let mut phones: HashMap<Jid, IdentityKey> = offered
        .iter()
        .filter(|offered| !is_companion(offered))
        .map(|offered| (offered.device.clone(), offered.bundle.identity))
        .collect();
    if !users.is_empty() {
        let addresses = protocol_addresses(turn, &users).await?;
        let known = turn.sessions(move |sessions| sessions.identities(&addresses)).await?;
        phones.extend(users.into_iter().zip(known).filter_map(|(user, known)| Some((user, known?))));
    }
    let verified = offered.into_iter().map(|offered| {
        let phone = phones.get(&offered.device.bare());
        (offered.device.clone(), verify(offered, phone))
    });
    Ok(verified.collect())
}

fn verify(offered: Offered, phone: Option<&IdentityKey>) -> Result<VerifiedBundle, String> {
    let Offered { device, bundle, device_identity } = offered;
    let key = bundle.identity;
    let bundle = bundle.verify().map_err(|error| error.to_string())?;
    if device.device() == 0 {
        return Ok(bundle);
    }
    let verified = device_identity.ok_or(adv::MISSING).and_then(|blob| adv::verify_companion(&blob, &key, phone));
    verified.map(|_| bundle).map_err(|error| error.to_string())
}

/// Verifies the device identity in a companion's PreKey message by the stored identity of its phone. A phone needs none. Returns the
/// phone's identity where we do not know it yet: it is trusted once the message decrypts.
pub(in crate::account) async fn verify_companion(
    turn: &mut Turn<'_>,
    device: &Jid,
    identity: &IdentityKey,
    device_identity: Option<&[u8]>,
) -> Result<Result<Option<IdentityKey>, WireError>, AccountError> {
    if device.device() == 0 {
        return Ok(Ok(None));
    }
    let Some(blob) = device_identity else { return Ok(Err(adv::MISSING)) };
    let known = phone_identity(turn, device).await?;
    let verified = adv::verify_companion(blob, identity, known.as_ref());
    Ok(verified.map(|verified| Some(verified.account_key).filter(|_| known.is_none())))
}
