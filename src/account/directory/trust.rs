//! Trust in identities: a companion's is verified by its phone's signature, and a changed one is an event.

use super::addresses::{addresses_of, display_address, forget_devices, protocol_address, protocol_addresses};
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::counter::Counter;
use crate::account::turn::event::Event;
use crate::account::turn::notice::Notice;
use crate::signal::{IdentityKey, PreKeyBundle, VerifiedBundle};
use crate::wire::{Jid, Node, WireError, adv};
use serde::Serialize;

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

/// A bundle to be verified, with the device identity that came with it.
pub(in crate::account) struct Offered {
    pub(in crate::account) device: Jid,
    pub(in crate::account) bundle: PreKeyBundle,
    pub(in crate::account) device_identity: Option<Vec<u8>>,
}

/// Verifies bundles: their signed prekeys' signatures and, for companions, their phones' signatures. `Err` says what is wrong.
pub(in crate::account) async fn verify_bundles(
    turn: &mut Turn<'_>,
    offered: Vec<Offered>,
) -> Result<Vec<(Jid, Result<VerifiedBundle, String>)>, AccountError> {
    let phones: Vec<Jid> = offered.iter().map(|offered| offered.device.bare()).collect();
    let phones = protocol_addresses(turn, &phones).await?;
    let identities = turn.sessions(move |sessions| sessions.identities(&phones)).await?;
    let verified = offered.into_iter().zip(identities).map(|(offered, phone)| {
        let verified = verify(&offered, phone.as_ref());
        (offered.device, verified)
    });
    Ok(verified.collect())
}

fn verify(offered: &Offered, phone: Option<&IdentityKey>) -> Result<VerifiedBundle, String> {
    let key = offered.bundle.identity;
    let bundle = offered.bundle.clone().verify().map_err(|error| error.to_string())?;
    if offered.device.device() == 0 {
        return Ok(bundle);
    }
    let blob = offered.device_identity.as_deref().ok_or("the companion's device identity is missing")?;
    adv::verify_companion(blob, &key, phone).map_err(|error| error.to_string())?;
    Ok(bundle)
}

/// Verifies the device identity in a companion's PreKey message by the stored identity of its phone.
pub(in crate::account) async fn verify_companion(
    turn: &mut Turn<'_>,
    device: &Jid,
    identity: &IdentityKey,
    device_identity: Option<&[u8]>,
) -> Result<Result<(), WireError>, AccountError> {
    let Some(blob) = device_identity.filter(|_| device.device() != 0) else { return Ok(Ok(())) };
    let known = phone_identity(turn, device).await?;
    Ok(adv::verify_companion(blob, identity, known.as_ref()).map(|_| ()))
}
