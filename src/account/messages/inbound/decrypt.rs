//! Decrypts a message in the sender's session, with a sender key, or both (`wire-protocol.md` 1.13).

use super::envelope::Envelope;
use super::unreadable::Unreadable;
use crate::account::children::session_cipher::{Ciphertext, DecryptContext};
use crate::account::directory::{addresses, mapping, trust};
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::signal::{JumpLimit, PreKeySignalMessage, SenderKeyMessage, SignalError, SignalMessage};
use crate::wire::message::{CarriedSenderKey, Decoded, decode};
use crate::wire::{Jid, Node};

type Read = Result<Decoded, Unreadable>;

/// Decrypts a message. The ciphertext for this device comes first: it may bring the sender key of the common one. A sender that may not
/// fail is tried sparingly.
pub(super) async fn decrypt(
    turn: &mut Turn<'_>,
    node: &Node,
    envelope: &Envelope,
    may_fail: bool,
) -> Result<Read, AccountError> {
    let limit = jump_limit(turn, envelope);
    let limit = if may_fail { limit } else { limit.sparing() };
    let mut read = Err(Unreadable::NoCiphertext);
    if node.all("enc").any(|enc| parse(enc).is_some()) {
        read = decrypt_pairwise(turn, node, envelope, limit).await?;
        let may_be_migrated = read.as_ref().is_err_and(Unreadable::may_be_migrated);
        if may_be_migrated && mapping::migrate_session(turn, &envelope.from).await? {
            read = decrypt_pairwise(turn, node, envelope, limit).await?;
        }
        match &read {
            Ok(decoded) => {
                if let Some(key) = decoded.sender_key.clone() {
                    process_sender_key(turn, envelope, key).await?;
                }
            }
            // An earlier copy brought the sender key.
            Err(why) if why.is_duplicate() => {}
            Err(_) => return Ok(read),
        }
    }
    match node.all("enc").find(|enc| enc.is("type", "skmsg")) {
        Some(shared) if envelope.is_shared() => decrypt_shared(turn, envelope, shared, limit).await,
        _ => Ok(read),
    }
}

fn jump_limit(turn: &Turn<'_>, envelope: &Envelope) -> JumpLimit {
    let settings = &turn.ctx.settings;
    if envelope.own { settings.jump_limit_own } else { settings.jump_limit }
}

async fn decrypt_shared(
    turn: &mut Turn<'_>,
    envelope: &Envelope,
    shared: &Node,
    limit: JumpLimit,
) -> Result<Read, AccountError> {
    let message = match SenderKeyMessage::parse(shared.content_bytes()) {
        Ok(message) => message,
        Err(error) => return Ok(Err(Unreadable::Signal(error))),
    };
    let author = addresses::canonical(turn, &envelope.from).await?;
    let name = author.sender_key_name(&envelope.chat);
    match turn.sender_keys(move |keys| keys.decrypt(&name, &message, limit)).await? {
        Ok(plaintext) => Ok(decode(&plaintext).map_err(Unreadable::Wire)),
        Err(error) => Ok(Err(Unreadable::Signal(error))),
    }
}

/// Processes a member's sender key distribution. A malformed one is logged; messages under its key get retry receipts. A key for another
/// chat than the message's is not kept: nobody but the service says which groups we are in.
async fn process_sender_key(
    turn: &mut Turn<'_>,
    envelope: &Envelope,
    key: CarriedSenderKey,
) -> Result<(), AccountError> {
    let Some(group) = Jid::parse(&key.group).ok().filter(|group| *group == envelope.chat && group.is_shared()) else {
        tracing::warn!(account = %turn.ctx.id, from = %envelope.from.redacted(), "sender key for another chat skipped");
        return Ok(());
    };
    let author = addresses::canonical(turn, &envelope.from).await?;
    let name = author.sender_key_name(&group);
    let processed = turn.sender_keys(move |keys| keys.process_distribution(&name, &key.distribution)).await?;
    if let Err(error) = processed {
        tracing::warn!(account = %turn.ctx.id, from = %author.redacted(), %error, "sender key refused");
    }
    Ok(())
}

async fn decrypt_pairwise(
    turn: &mut Turn<'_>,
    node: &Node,
    envelope: &Envelope,
    limit: JumpLimit,
) -> Result<Read, AccountError> {
    let ciphertext = match node.all("enc").find_map(parse) {
        Some(Ok(ciphertext)) => ciphertext,
        Some(Err(error)) => return Ok(Err(Unreadable::Signal(error))),
        None => return Ok(Err(Unreadable::NoCiphertext)),
    };
    let device = addresses::canonical(turn, &envelope.from).await?;
    let mut phone = None;
    if let Ciphertext::PreKey(message) = &ciphertext {
        let device_identity = node.find("device-identity").map(Node::content_bytes);
        match trust::verify_companion(turn, &device, &message.identity_key, device_identity).await? {
            Ok(vouching) => phone = vouching.map(|identity| (device.bare().protocol_address(), identity)),
            Err(error) => return Ok(Err(Unreadable::Wire(error))),
        }
    }
    let address = device.protocol_address();
    let needed = match &ciphertext {
        Ciphertext::PreKey(message) => Some((message.signed_pre_key_id, message.pre_key_id)),
        Ciphertext::Signal(_) => None,
    };
    let asked = address.clone();
    let (ciphertext, needs_prekeys) = turn
        .sessions(move |sessions| {
            let needs = sessions.needs_prekeys(&asked, &ciphertext)?;
            Ok((ciphertext, needs))
        })
        .await?;
    let prekeys = match needed.filter(|_| needs_prekeys) {
        None => None,
        Some((signed, one_time)) => match turn.prekeys(move |keys| keys.lookup(signed, one_time)).await? {
            Ok(found) => Some(found),
            Err(error) => return Ok(Err(Unreadable::Signal(error))),
        },
    };
    let context = DecryptContext { prekeys, limit, now: turn.now };
    let (decrypted, report) = turn
        .sessions(move |sessions| {
            let decrypted = sessions.decrypt(&address, &ciphertext, &context)?;
            if let (Ok(_), Some((phone, identity))) = (&decrypted, phone) {
                sessions.trust(&phone, identity)?;
            }
            let failed = decrypted.as_ref().is_err_and(|error| !matches!(error, SignalError::Duplicate { .. }));
            let report =
                if failed && limit.stray.is_some() { Some(sessions.explain(&address, &ciphertext)?) } else { None };
            Ok((decrypted, report))
        })
        .await?;
    if let Some(report) = report {
        tracing::warn!(account = %turn.ctx.id, report, "no session state decrypts the message");
    }
    let decrypted = match decrypted {
        Ok(decrypted) => decrypted,
        Err(error) => return Ok(Err(Unreadable::Signal(error))),
    };
    if let Some(id) = decrypted.used_prekey {
        turn.prekeys(move |keys| keys.consume(id)).await?;
    }
    if decrypted.identity_changed {
        trust::identity_changed(turn, &envelope.from).await?;
    }
    Ok(decode(&decrypted.plaintext).map_err(Unreadable::Wire))
}

fn parse(enc: &Node) -> Option<Result<Ciphertext, SignalError>> {
    let bytes = enc.content_bytes();
    match enc.text("type").as_deref() {
        Some("msg") => Some(SignalMessage::parse(bytes).map(Ciphertext::Signal)),
        Some("pkmsg") => Some(PreKeySignalMessage::parse(bytes).map(|message| Ciphertext::PreKey(Box::new(message)))),
        _ => None,
    }
}
