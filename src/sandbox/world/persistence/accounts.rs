//! The stored forms of accounts and companions.

use super::fields::{number_of_id, public, read_device, write_device};
use super::proto;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::phone::device::Phone;
use crate::sandbox::world::registry::account::Account;
use crate::sandbox::world::registry::companion::{Companion, CompanionKeys};
use crate::signal::{
    IdentityKey, IdentityKeyPair, KeyPair, LocalParty, PreKeyId, PublicKey, SecretKey, SignedPreKeyId, SignedPreKeyPair,
};
use prost::Message as _;

pub(super) fn write_account(account: &Account) -> Vec<u8> {
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

/// The account with a placeholder for its phone, which is a separate row.
pub(super) fn read_account(number: &str, row: &[u8]) -> Result<Account, WorldError> {
    let bad = || WorldError::Unreadable("an account");
    let row = proto::Account::decode(row).map_err(|_| bad())?;
    let unused = IdentityKeyPair(KeyPair::from_secret(SecretKey::from_bytes([1; 32])));
    let signed = SignedPreKeyPair { id: SignedPreKeyId::FIRST, pair: unused.0.clone(), signature: [0; 64] };
    let local = LocalParty { identity: unused, registration_id: 0 };
    let phone = Phone::with_keys(local, signed, [0; 32]);
    let mut account =
        Account::new(number, row.lid().to_owned(), row.name().to_owned(), phone, row.raw_id(), row.created());
    account.last_device = u16::try_from(row.last_device()).map_err(|_| bad())?;
    account.last_key_index = row.last_key_index();
    account.acquaintances = row.acquaintances.iter().map(read_device).collect();
    account.settings = serde_json::from_str(row.settings()).map_err(|_| bad())?;
    Ok(account)
}

pub(super) fn write_companion(companion: &Companion) -> Vec<u8> {
    let prekey = |id: u32, key: &PublicKey| proto::PreKey { id: Some(id), key: Some(key.as_bytes().to_vec()) };
    let keys = &companion.keys;
    let signed = keys.signed_prekey.as_ref();
    proto::Companion {
        noise: Some(keys.noise.as_bytes().to_vec()),
        identity: Some(keys.identity.0.as_bytes().to_vec()),
        registration_id: Some(keys.registration_id),
        key_index: Some(keys.key_index),
        device_identity: Some(keys.device_identity.clone()),
        signed: signed.map(|(id, key, _)| prekey(number_of_id(id.to_wire()), key)),
        signature: signed.map(|(_, _, signature)| signature.clone()),
        prekeys: keys.prekeys.iter().map(|(id, key)| prekey(number_of_id(id.to_wire()), key)).collect(),
        welcomed: Some(companion.welcomed),
    }
    .encode_to_vec()
}

pub(super) fn read_companion(row: &[u8]) -> Result<Companion, WorldError> {
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
    let keys = CompanionKeys {
        noise: public(row.noise())?,
        identity: IdentityKey(public(row.identity())?),
        registration_id: row.registration_id(),
        key_index: row.key_index(),
        device_identity: row.device_identity().to_vec(),
        signed_prekey: signed.transpose()?,
        prekeys: prekeys.collect::<Result<_, _>>()?,
    };
    Ok(Companion { welcomed: row.welcomed(), ..Companion::offline(keys) })
}
