//! Addresses of users and devices: by phone number, by LID, and the Signal address.

use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::notice::Notice;
use crate::base::address::ProtocolAddress;
use crate::wire::{Jid, Server};

/// The canonical address of a user or device, under which its records are stored: its LID where that is known.
pub(in crate::account) async fn canonical(turn: &mut Turn<'_>, jid: &Jid) -> Result<Jid, AccountError> {
    let asked = jid.clone();
    turn.devices(move |devices| devices.canonical(&asked)).await
}

/// A user's address for events and answers: the phone number where it is known.
pub(in crate::account) async fn display_address(turn: &mut Turn<'_>, jid: &Jid) -> Result<String, AccountError> {
    let asked = jid.clone();
    let pn = turn.devices(move |devices| devices.pn_of(&asked)).await?;
    Ok(pn.as_ref().unwrap_or(jid).to_string())
}

/// A user's LID, where it is known.
pub(in crate::account) async fn lid_of(turn: &mut Turn<'_>, jid: &Jid) -> Result<Option<String>, AccountError> {
    let canonical = canonical(turn, jid).await?;
    Ok((canonical.server() == Server::Lid).then(|| canonical.to_string()))
}

/// All addresses of a contact.
pub(in crate::account) async fn addresses_of(turn: &mut Turn<'_>, user: &Jid) -> Result<Vec<Jid>, AccountError> {
    let user = user.clone();
    turn.devices(move |devices| devices.addresses(&user)).await
}

/// The Signal addresses of devices, in their order.
pub(in crate::account) async fn protocol_addresses(
    turn: &mut Turn<'_>,
    devices: &[Jid],
) -> Result<Vec<ProtocolAddress>, AccountError> {
    let asked = devices.to_vec();
    turn.devices(move |devices| devices.protocol_addresses(&asked)).await
}

pub(in crate::account) async fn protocol_address(
    turn: &mut Turn<'_>,
    device: &Jid,
) -> Result<ProtocolAddress, AccountError> {
    Ok(canonical(turn, device).await?.protocol_address())
}

pub(in crate::account) async fn is_known(turn: &mut Turn<'_>, device: &Jid) -> Result<bool, AccountError> {
    let device = device.clone();
    turn.devices(move |devices| devices.is_known(&device)).await
}

/// Forgets the device lists of users: they are queried before the next message to them.
pub(in crate::account) async fn forget_devices(turn: &mut Turn<'_>, users: Vec<Jid>) -> Result<(), AccountError> {
    turn.devices(move |devices| users.iter().try_for_each(|user| devices.forget(user))).await?;
    turn.announce(Notice::DeviceListForgotten);
    Ok(())
}
