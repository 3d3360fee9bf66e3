//! The stored forms of phones: keys, parts of Signal records, messages.

use super::fields::{number_of_id, pair};
use super::proto;
use crate::base::time::Timestamp;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::phone::device::Phone;
use crate::sandbox::world::phone::message::{KINDS, PhoneContext, PhoneMedia, PhoneMessage, UNDECRYPTABLE};
use crate::signal::{
    IdentityKeyPair, KeyPair, LocalParty, Part, PreKeyId, PreKeyPair, SignedPreKeyId, SignedPreKeyPair,
};
use prost::Message as _;

pub(super) fn write_phone(phone: &Phone) -> Vec<u8> {
    let prekey = |id: PreKeyId, pair: &KeyPair| proto::PreKey {
        id: Some(number_of_id(id.to_wire())),
        key: Some(pair.secret().expose().to_vec()),
    };
    proto::Phone {
        identity: Some(phone.local.identity.secret().expose().to_vec()),
        registration_id: Some(phone.local.registration_id),
        signed: Some(proto::PreKey {
            id: Some(number_of_id(phone.signed.id.to_wire())),
            key: Some(phone.signed.pair.secret().expose().to_vec()),
        }),
        signature: Some(phone.signed.signature.to_vec()),
        prekeys: phone.prekeys.iter().map(|(id, key)| prekey(*id, &key.pair)).collect(),
        offered: Some(number_of_id(phone.offered.to_wire())),
        app_state_key: Some(phone.app_state_key.to_vec()),
    }
    .encode_to_vec()
}

pub(super) fn read_phone(row: &[u8]) -> Result<Phone, WorldError> {
    let bad = || WorldError::Unreadable("a phone");
    let row = proto::Phone::decode(row).map_err(|_| bad())?;
    let signed = row.signed.clone().unwrap_or_default();
    let signed = SignedPreKeyPair {
        id: SignedPreKeyId::new(signed.id()).map_err(|_| bad())?,
        pair: pair(signed.key())?,
        signature: row.signature().try_into().map_err(|_| bad())?,
    };
    let local = LocalParty { identity: IdentityKeyPair(pair(row.identity())?), registration_id: row.registration_id() };
    let mut phone = Phone::with_keys(local, signed, row.app_state_key().try_into().map_err(|_| bad())?);
    for prekey in &row.prekeys {
        let id = PreKeyId::new(prekey.id()).map_err(|_| bad())?;
        phone.prekeys.insert(id, PreKeyPair { id, pair: pair(prekey.key())? });
    }
    phone.offered = PreKeyId::new(row.offered()).map_err(|_| bad())?;
    Ok(phone)
}

pub(super) fn write_parts(parts: Vec<(Part, zeroize::Zeroizing<Vec<u8>>)>) -> Vec<u8> {
    let part = |(part, value): (Part, zeroize::Zeroizing<Vec<u8>>)| proto::parts::Part {
        name: Some(part.suffix()),
        value: Some(value.to_vec()),
    };
    proto::Parts { parts: parts.into_iter().map(part).collect() }.encode_to_vec()
}

pub(super) fn read_parts(row: &[u8]) -> Result<Vec<(Part, Vec<u8>)>, WorldError> {
    let bad = || WorldError::Unreadable("the parts of a record");
    let row = proto::Parts::decode(row).map_err(|_| bad())?;
    row.parts.iter().map(|part| Ok((Part::parse(part.name()).map_err(|_| bad())?, part.value().to_vec()))).collect()
}

pub(super) fn write_message(message: &PhoneMessage) -> Vec<u8> {
    let media = message.media.as_ref().map(|media| proto::phone_message::Media {
        mime_type: Some(media.mime_type.clone()),
        file_name: media.file_name.clone(),
        size: Some(media.size),
        sha256: media.sha256.clone(),
    });
    proto::PhoneMessage {
        id: Some(message.id.clone()),
        chat: Some(message.chat.clone()),
        from: Some(message.from.clone()),
        kind: Some(message.kind.to_owned()),
        text: message.text.clone(),
        target: message.target.clone(),
        media,
        quoted_id: message.context.as_ref().map(|context| context.message_id.clone()),
        quoted_from: message.context.as_ref().and_then(|context| context.from.clone()),
        at_ms: Some(message.at.0),
        copies: Some(message.copies),
    }
    .encode_to_vec()
}

pub(super) fn read_message(row: &[u8]) -> Result<PhoneMessage, WorldError> {
    let row = proto::PhoneMessage::decode(row).map_err(|_| WorldError::Unreadable("a phone's message"))?;
    let kind = KINDS.into_iter().find(|kind| *kind == row.kind()).unwrap_or(UNDECRYPTABLE);
    let media = row.media.as_ref().map(|media| PhoneMedia {
        mime_type: media.mime_type().to_owned(),
        file_name: media.file_name.clone(),
        size: media.size(),
        sha256: media.sha256.clone(),
    });
    Ok(PhoneMessage {
        id: row.id().to_owned(),
        chat: row.chat().to_owned(),
        from: row.from().to_owned(),
        kind,
        text: row.text.clone(),
        target: row.target.clone(),
        media,
        context: row.quoted_id.clone().map(|message_id| PhoneContext { message_id, from: row.quoted_from.clone() }),
        at: Timestamp(row.at_ms()),
        copies: row.copies(),
    })
}
