//! What survives the end of the sandbox: rows that change are collected, and a world is made of rows again.
//!
//! Invariant: whoever keeps the rows of [`World::take_changes`] before handing on the outputs of the same step has lost
//! nothing that a client was told of.

use crate::base::time::Timestamp;
use crate::sandbox::world::control::{PhoneContext, PhoneMessage};
use crate::sandbox::world::directory::app_state::Collection;
use crate::sandbox::world::groups::membership::Group;
use crate::sandbox::world::phone::{GroupKey, Phone, PhoneMedia};
use crate::sandbox::world::registry::account::{Account, Companion, Kept};
use crate::sandbox::world::{DeviceId, ServiceKeys, World, WorldError};
use crate::signal::{
    IdentityKey, IdentityKeyPair, KeyPair, LocalParty, OurSenderKey, Part, PreKeyId, PreKeyPair, PublicKey, SecretKey,
    Session, SignedPreKeyId, SignedPreKeyPair, TheirSenderKeys,
};
use crate::wire::{Jid, Server, decode_frame, encode_frame};
use prost::Message as _;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod proto {
    #![allow(missing_docs, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/sandbox.rs"));
}

/// A row that is to be written, or to be removed where it has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// What can change by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox::world) enum Row {
    Service,
    Account(String),
    Phone(String),
    /// With this device.
    Session(String, Jid),
    /// Of this member, for this group.
    SenderKeys(String, Jid, Jid),
    GroupKey(String, Jid),
    Message(String, usize),
    Companion(DeviceId),
    Queue(DeviceId, u64),
    Patch(String, String, usize),
    Group(Jid),
    Media(String),
}

/// The kinds in the order in which they are read back: an owner before what is its own.
const SERVICE: &str = "0";
const ACCOUNT: &str = "1";
const PHONE: &str = "2";
const SESSION: &str = "3";
const SENDER_KEYS: &str = "4";
const GROUP_KEY: &str = "5";
const MESSAGE: &str = "6";
const COMPANION: &str = "7";
const QUEUE: &str = "8";
const PATCH: &str = "9";
const GROUP: &str = "a";
const MEDIA: &str = "b";

/// Message kinds as they are shown.
const KINDS: [&str; 9] = ["text", "image", "video", "audio", "document", "sticker", "reaction", "edit", "revoke"];
const UNDECRYPTABLE: &str = "undecryptable";

impl Row {
    /// Fields are parted by `/`, which none of them holds; numbers are padded, so that rows sort as their owners' lists do.
    fn key(&self) -> String {
        match self {
            Self::Service => SERVICE.to_owned(),
            Self::Account(number) => format!("{ACCOUNT}/{number}"),
            Self::Phone(number) => format!("{PHONE}/{number}"),
            Self::Session(number, device) => format!("{SESSION}/{number}/{device}"),
            Self::SenderKeys(number, author, group) => format!("{SENDER_KEYS}/{number}/{author}/{group}"),
            Self::GroupKey(number, group) => format!("{GROUP_KEY}/{number}/{group}"),
            Self::Message(number, at) => format!("{MESSAGE}/{number}/{at:010}"),
            Self::Companion(device) => format!("{COMPANION}/{}/{}", device.number, device.device),
            Self::Queue(device, sequence) => format!("{QUEUE}/{}/{}/{sequence:020}", device.number, device.device),
            Self::Patch(number, name, version) => format!("{PATCH}/{number}/{name}/{version:010}"),
            Self::Group(group) => format!("{GROUP}/{group}"),
            Self::Media(token) => format!("{MEDIA}/{token}"),
        }
    }
}

impl World {
    /// A network as it was kept; a new one where nothing was. From here on it collects what changes.
    pub fn restore(rows: BTreeMap<String, Vec<u8>>, seed: u64, now: Timestamp) -> Result<Self, WorldError> {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys = match rows.get(SERVICE) {
            Some(row) => read_keys(row)?,
            None if rows.is_empty() => ServiceKeys::generate(&mut rng),
            None => return Err(WorldError::Unreadable("the service's keys")),
        };
        let kept = proto::Service {
            root: Some(keys.root.secret().expose().to_vec()),
            intermediate: Some(keys.intermediate.secret().expose().to_vec()),
            noise: Some(keys.noise.secret().expose().to_vec()),
        };
        let mut world = Self::with_keys(rng, keys, now);
        world.service = kept.encode_to_vec();
        for (key, value) in &rows {
            let fields: Vec<&str> = key.split('/').collect();
            world.read_row(&fields, value)?;
        }
        world.changed = Some(BTreeSet::new());
        if rows.is_empty() {
            world.touch(|| Row::Service);
        }
        Ok(world)
    }

    /// Notes that a row has changed, where rows are kept.
    pub(in crate::sandbox::world) fn touch(&mut self, row: impl FnOnce() -> Row) {
        if let Some(changed) = &mut self.changed {
            changed.insert(row());
        }
    }

    /// What has changed since this was last asked.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let Some(changed) = &mut self.changed else { return Vec::new() };
        let changed = std::mem::take(changed);
        changed.iter().map(|row| Change { key: row.key(), value: self.render(row) }).collect()
    }

    fn render(&self, row: &Row) -> Option<Vec<u8>> {
        let phone = |number: &String| self.accounts.get(number).map(|account| &account.phone);
        match row {
            Row::Service => Some(self.service.clone()),
            Row::Account(number) => Some(write_account(self.accounts.get(number)?)),
            Row::Phone(number) => Some(write_phone(phone(number)?)),
            Row::Session(number, device) => {
                Some(write_parts(phone(number)?.sessions.get(&device.protocol_address())?.to_parts()))
            }
            Row::SenderKeys(number, author, group) => {
                Some(write_parts(phone(number)?.sender_keys.get(&author.sender_key_name(group))?.to_parts()))
            }
            Row::GroupKey(number, group) => {
                let key = phone(number)?.groups.get(group)?;
                let holders = key.holders.iter().map(write_device).collect();
                Some(proto::GroupKey { key: Some(key.key.encode().to_vec()), holders }.encode_to_vec())
            }
            Row::Message(number, at) => Some(write_message(phone(number)?.messages.get(*at)?)),
            Row::Companion(device) => {
                Some(write_companion(self.accounts.get(&device.number)?.companions.get(&device.device)?))
            }
            Row::Queue(device, sequence) => {
                let queue = &self.accounts.get(&device.number)?.companions.get(&device.device)?.queue;
                let at = queue.binary_search_by_key(sequence, |kept| kept.sequence).ok()?;
                queue.get(at).map(|kept| encode_frame(&kept.node))
            }
            Row::Patch(number, name, version) => {
                self.accounts.get(number)?.app_state.get(name)?.patches.get(version.checked_sub(1)?).cloned()
            }
            Row::Group(group) => serde_json::to_vec(self.groups.get(group)?).ok(),
            Row::Media(token) => self.media.get(token).map(|body| body.to_vec()),
        }
    }

    fn read_row(&mut self, fields: &[&str], value: &[u8]) -> Result<(), WorldError> {
        let owner = |number: &str| self.accounts.contains_key(number);
        let lost = WorldError::Unreadable("a row of nobody");
        match *fields {
            [SERVICE] => {}
            [ACCOUNT, number] => {
                let account = read_account(number, value)?;
                self.numbers_by_lid.insert(account.lid.user().to_owned(), number.to_owned());
                self.accounts.insert(number.to_owned(), account);
            }
            [MEDIA, token] => {
                self.media_size += value.len();
                self.media.insert(token.to_owned(), Arc::new(value.to_vec()));
            }
            [GROUP, group] => {
                let id = read_jid(group)?;
                let group: Group = serde_json::from_slice(value).map_err(|_| WorldError::Unreadable("a group"))?;
                self.groups.insert(id, group);
            }
            [_, number, ..] if !owner(number) => return Err(lost),
            [QUEUE, number, device, sequence] => {
                let sequence = sequence.parse().map_err(|_| WorldError::Unreadable("a place in a queue"))?;
                let node = decode_frame(value).map_err(|_| WorldError::Unreadable("a stanza"))?;
                self.sequence = self.sequence.max(sequence);
                let companion = self.companion_mut(&device_id(number, device)?).ok_or(lost)?;
                companion.queue.push_back(Kept { sequence, node });
            }
            [COMPANION, number, device] => {
                let id = device_id(number, device)?;
                let companion = read_companion(value)?;
                let account = self.accounts.get_mut(number).ok_or(lost)?;
                account.companions.insert(id.device, companion);
            }
            [kind, number, ref rest @ ..] => {
                let account = self.accounts.get_mut(number).ok_or(lost)?;
                read_owned(account, kind, rest, value)?;
            }
            _ => return Err(WorldError::Unreadable("a row of no kind")),
        }
        Ok(())
    }
}

/// A row of an account's phone, or of its app state.
fn read_owned(account: &mut Account, kind: &str, rest: &[&str], value: &[u8]) -> Result<(), WorldError> {
    let phone = &mut account.phone;
    match (kind, rest) {
        (PHONE, []) => *phone = read_phone(value)?,
        (SESSION, [device]) => {
            let session = Session::from_parts(read_parts(value)?).map_err(|_| WorldError::Unreadable("a session"))?;
            phone.sessions.insert(read_jid(device)?.protocol_address(), session);
        }
        (SENDER_KEYS, [author, group]) => {
            let keys = TheirSenderKeys::from_parts(read_parts(value)?);
            let keys = keys.map_err(|_| WorldError::Unreadable("a member's sender keys"))?;
            phone.sender_keys.insert(read_jid(author)?.sender_key_name(&read_jid(group)?), keys);
        }
        (GROUP_KEY, [group]) => {
            let bad = WorldError::Unreadable("a sender key");
            let row = proto::GroupKey::decode(value).map_err(|_| bad.clone())?;
            let key = OurSenderKey::decode(row.key()).map_err(|_| bad)?;
            let holders = row.holders.iter().map(read_device).collect();
            phone.groups.insert(read_jid(group)?, GroupKey { key, holders });
        }
        (MESSAGE, [_]) => phone.messages.push(read_message(value)?),
        (PATCH, [name, _]) => {
            let collection: &mut Collection = account.app_state.entry((*name).to_owned()).or_default();
            collection.patches.push(value.to_vec());
        }
        _ => return Err(WorldError::Unreadable("a row of no kind")),
    }
    Ok(())
}

fn read_jid(text: &str) -> Result<Jid, WorldError> {
    Jid::parse(text).map_err(|_| WorldError::Unreadable("a jid"))
}

fn device_id(number: &str, device: &str) -> Result<DeviceId, WorldError> {
    let device = device.parse().map_err(|_| WorldError::Unreadable("a device number"))?;
    Ok(DeviceId { number: number.to_owned(), device })
}

fn write_device(device: &DeviceId) -> proto::Device {
    proto::Device { number: Some(device.number.clone()), device: Some(u32::from(device.device)) }
}

fn read_device(device: &proto::Device) -> DeviceId {
    DeviceId { number: device.number().to_owned(), device: u16::try_from(device.device()).unwrap_or_default() }
}

fn pair(bytes: &[u8]) -> Result<KeyPair, WorldError> {
    let secret = SecretKey::parse(bytes, "kept key").map_err(|_| WorldError::Unreadable("a key"))?;
    Ok(KeyPair::from_secret(secret))
}

fn public(bytes: &[u8]) -> Result<PublicKey, WorldError> {
    PublicKey::parse(bytes, "kept key").map_err(|_| WorldError::Unreadable("a key"))
}

fn read_keys(row: &[u8]) -> Result<ServiceKeys, WorldError> {
    let row = proto::Service::decode(row).map_err(|_| WorldError::Unreadable("the service's keys"))?;
    Ok(ServiceKeys { root: pair(row.root())?, intermediate: pair(row.intermediate())?, noise: pair(row.noise())? })
}

fn write_account(account: &Account) -> Vec<u8> {
    proto::Account {
        lid: Some(account.lid.user().to_owned()),
        name: Some(account.name.clone()),
        last_device: Some(u32::from(account.last_device)),
        last_key_index: Some(account.last_key_index),
        raw_id: Some(account.raw_id),
        created: Some(account.created),
        settings: serde_json::to_string(&account.settings).ok(),
        acquaintances: account.acquaintances.iter().map(write_device).collect(),
    }
    .encode_to_vec()
}

/// The account without its phone, which is a row of its own.
fn read_account(number: &str, row: &[u8]) -> Result<Account, WorldError> {
    let bad = || WorldError::Unreadable("an account");
    let row = proto::Account::decode(row).map_err(|_| bad())?;
    let unused = IdentityKeyPair(KeyPair::from_secret(SecretKey::from_bytes([1; 32])));
    let signed = SignedPreKeyPair { id: SignedPreKeyId::FIRST, pair: unused.0.clone(), signature: [0; 64] };
    let local = LocalParty { identity: unused, registration_id: 0 };
    Ok(Account {
        pn: Jid::pn(number),
        lid: Jid::new(row.lid().to_owned(), Server::Lid),
        name: row.name().to_owned(),
        phone: Phone::with_keys(local, signed, [0; 32]),
        companions: BTreeMap::new(),
        last_device: u16::try_from(row.last_device()).map_err(|_| bad())?,
        last_key_index: row.last_key_index(),
        acquaintances: row.acquaintances.iter().map(read_device).collect(),
        watchers: BTreeSet::new(),
        settings: serde_json::from_str(row.settings()).map_err(|_| bad())?,
        app_state: BTreeMap::new(),
        raw_id: row.raw_id(),
        created: row.created(),
    })
}

fn write_phone(phone: &Phone) -> Vec<u8> {
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

fn number_of_id([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

fn read_phone(row: &[u8]) -> Result<Phone, WorldError> {
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

fn write_companion(companion: &Companion) -> Vec<u8> {
    let prekey = |id: u32, key: &PublicKey| proto::PreKey { id: Some(id), key: Some(key.as_bytes().to_vec()) };
    let signed = companion.signed_prekey.as_ref();
    proto::Companion {
        noise: Some(companion.noise.as_bytes().to_vec()),
        identity: Some(companion.identity.0.as_bytes().to_vec()),
        registration_id: Some(companion.registration_id),
        key_index: Some(companion.key_index),
        device_identity: Some(companion.device_identity.clone()),
        signed: signed.map(|(id, key, _)| prekey(number_of_id(id.to_wire()), key)),
        signature: signed.map(|(_, _, signature)| signature.clone()),
        prekeys: companion.prekeys.iter().map(|(id, key)| prekey(number_of_id(id.to_wire()), key)).collect(),
        welcomed: Some(companion.welcomed),
    }
    .encode_to_vec()
}

fn read_companion(row: &[u8]) -> Result<Companion, WorldError> {
    let bad = || WorldError::Unreadable("a companion");
    let row = proto::Companion::decode(row).map_err(|_| bad())?;
    let signed = row.signed.as_ref().map(|signed| {
        let id = SignedPreKeyId::new(signed.id()).map_err(|_| bad())?;
        Ok::<_, WorldError>((id, public(signed.key())?, row.signature().to_vec()))
    });
    let prekeys = row
        .prekeys
        .iter()
        .map(|prekey| Ok::<_, WorldError>((PreKeyId::new(prekey.id()).map_err(|_| bad())?, public(prekey.key())?)));
    Ok(Companion {
        noise: public(row.noise())?,
        identity: IdentityKey(public(row.identity())?),
        registration_id: row.registration_id(),
        key_index: row.key_index(),
        device_identity: row.device_identity().to_vec(),
        signed_prekey: signed.transpose()?,
        prekeys: prekeys.collect::<Result<_, _>>()?,
        welcomed: row.welcomed(),
        ..Companion::offline()
    })
}

fn write_parts(parts: Vec<(Part, zeroize::Zeroizing<Vec<u8>>)>) -> Vec<u8> {
    let part = |(part, value): (Part, zeroize::Zeroizing<Vec<u8>>)| proto::parts::Part {
        name: Some(part.suffix()),
        value: Some(value.to_vec()),
    };
    proto::Parts { parts: parts.into_iter().map(part).collect() }.encode_to_vec()
}

fn read_parts(row: &[u8]) -> Result<Vec<(Part, Vec<u8>)>, WorldError> {
    let bad = || WorldError::Unreadable("the parts of a record");
    let row = proto::Parts::decode(row).map_err(|_| bad())?;
    row.parts.iter().map(|part| Ok((Part::parse(part.name()).map_err(|_| bad())?, part.value().to_vec()))).collect()
}

fn write_message(message: &PhoneMessage) -> Vec<u8> {
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

fn read_message(row: &[u8]) -> Result<PhoneMessage, WorldError> {
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
