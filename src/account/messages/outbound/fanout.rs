//! Encrypting for each device of a fan-out set.

use crate::account::children::session_cipher::Encrypted;
use crate::account::directory::addresses::protocol_addresses;
use crate::account::error::AccountError;
use crate::account::own_device::Linked;
use crate::account::turn::Turn;
use crate::wire::message::pad;
use crate::wire::proto::Message;
use crate::wire::{Jid, Node};
use std::collections::HashSet;

/// Ciphertexts for devices.
#[derive(Default)]
pub(in crate::account::messages) struct FanOut {
    /// `<to jid><enc>`.
    pub(in crate::account::messages) participants: Vec<Node>,
    pub(in crate::account::messages) reached: Vec<Jid>,
    /// True when one of them begins a session: the stanza then carries our device identity.
    pub(in crate::account::messages) begins: bool,
}

/// Our device identity, signed by our phone.
pub(in crate::account::messages) fn device_identity(own: &Linked) -> Node {
    Node::new("device-identity").bytes(own.device_identity.clone())
}

/// The secret of a message's later add-ons and of its reporting token.
pub(in crate::account::messages) fn secret_of(message: &Message) -> Vec<u8> {
    let context = message.message_context_info.as_ref();
    context.and_then(|context| context.message_secret.clone()).unwrap_or_default()
}

/// The devices that we have no usable session with.
pub(in crate::account::messages) async fn without_session(
    turn: &mut Turn<'_>,
    devices: &[Jid],
) -> Result<Vec<Jid>, AccountError> {
    let addresses = protocol_addresses(turn, devices).await?;
    let (asked, now) = (addresses.clone(), turn.now);
    let missing: HashSet<_> = turn.sessions(move |sessions| sessions.missing(asked, now)).await?.into_iter().collect();
    let pairs = devices.iter().zip(addresses);
    Ok(pairs.filter(|(_, address)| missing.contains(address)).map(|(device, _)| device.clone()).collect())
}

/// Encrypts each plaintext for its device. A device whose encryption fails is left out.
pub(in crate::account::messages) async fn encrypt_each(
    turn: &mut Turn<'_>,
    plaintexts: Vec<(Jid, Vec<u8>)>,
) -> Result<FanOut, AccountError> {
    let (devices, plaintexts): (Vec<Jid>, Vec<Vec<u8>>) = plaintexts.into_iter().unzip();
    let addresses = protocol_addresses(turn, &devices).await?;
    let padded: Vec<Vec<u8>> = plaintexts.into_iter().map(|text| pad(text, &mut turn.ctx.rng)).collect();
    let (addressed, now) = (addresses.into_iter().zip(padded).collect(), turn.now);
    let encrypted = turn.sessions(move |sessions| sessions.encrypt(addressed, now)).await?;
    let mut fan_out = FanOut::default();
    for (device, encrypted) in devices.into_iter().zip(encrypted) {
        match encrypted {
            Ok(Encrypted { kind, bytes }) => {
                fan_out.begins |= kind == "pkmsg";
                let enc = Node::new("enc").attr("v", "2").attr("type", kind).bytes(bytes);
                fan_out.participants.push(Node::new("to").attr("jid", &device).child(enc));
                fan_out.reached.push(device);
            }
            Err(error) => {
                tracing::warn!(account = %turn.ctx.id, device = %device.redacted(), %error, "device left out of fan-out");
            }
        }
    }
    Ok(fan_out)
}
