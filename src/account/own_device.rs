//! The linked device: its long-term keys, and the account that it is linked to.

use crate::account::codec::{self, decode, encode};
use crate::account::error::AccountError;
use crate::account::proto;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::signal::{IdentityKeyPair, KeyPair, LocalParty, SecretKey};
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use crate::wire::Jid;
use rand::Rng;
use rand::rngs::StdRng;

/// The keys and, once linked, the identity of our device.
#[derive(Clone, Debug)]
pub struct OwnDevice {
    pub noise: KeyPair,
    pub local: LocalParty,
    pub adv_secret: Secret<32>,
    pub linked: Option<Linked>,
    pub login_counter: u32,
    pub routing_info: Option<Vec<u8>>,
}

/// Our identity, once a phone has linked this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Our address by phone number, with our device number.
    pub jid: Jid,
    pub lid: Option<Jid>,
    pub device_identity: Vec<u8>,
    pub push_name: String,
    pub linked_at: Timestamp,
    /// True when direct messages are addressed by LID.
    pub lid_migrated: bool,
}

impl Linked {
    /// True when the JID is our own user, by phone number or LID.
    pub fn is_own_user(&self, jid: &Jid) -> bool {
        jid.is_same_user_as(&self.jid) || self.lid.as_ref().is_some_and(|lid| jid.is_same_user_as(lid))
    }

    /// True when the JID is this device.
    pub fn is_this_device(&self, jid: &Jid) -> bool {
        self.is_own_user(jid) && jid.device() == self.jid.device()
    }
}

impl OwnDevice {
    /// Loads the stored device, if there is one.
    pub fn load(store: &AccountStore) -> Result<Option<Self>, AccountError> {
        let Some(bytes) = store.get(kind::DEVICE, b"")? else {
            return Ok(None);
        };
        let corrupt = || AccountError::Record { what: "device" };
        let record: proto::Device = decode(&bytes, "device")?;
        let pair = |bytes: &[u8]| SecretKey::parse(bytes, "stored device key").map(KeyPair::from_secret);
        Ok(Some(Self {
            noise: pair(record.noise_secret())?,
            local: LocalParty {
                identity: IdentityKeyPair(pair(record.identity_secret())?),
                registration_id: record.registration_id(),
            },
            adv_secret: Secret::from_slice(record.adv_secret()).ok_or_else(corrupt)?,
            login_counter: record.login_counter(),
            routing_info: record.routing_info.clone(),
            linked: record.link.map(read_linked).transpose()?,
        }))
    }

    /// A new device that is not linked.
    pub(in crate::account) fn generate(rng: &mut StdRng) -> Self {
        let identity = IdentityKeyPair::generate(rng);
        Self {
            noise: KeyPair::generate(rng),
            local: LocalParty { identity, registration_id: rng.next_u32() % 0x7fff_fffe + 1 },
            adv_secret: Secret::generate(rng),
            linked: None,
            login_counter: 0,
            routing_info: None,
        }
    }

    /// The record of this device.
    pub fn to_writes(&self) -> ChangeSet<owner::OwnDevice> {
        let record = proto::Device {
            noise_secret: Some(self.noise.secret().expose().to_vec()),
            identity_secret: Some(self.local.identity.secret().expose().to_vec()),
            registration_id: Some(self.local.registration_id),
            adv_secret: Some(self.adv_secret.expose().to_vec()),
            login_counter: Some(self.login_counter),
            routing_info: self.routing_info.clone(),
            link: self.linked.as_ref().map(|link| proto::Link {
                jid: Some(link.jid.to_string()),
                lid: link.lid.as_ref().map(Jid::to_string),
                device_identity: Some(link.device_identity.clone()),
                push_name: Some(link.push_name.clone()),
                linked_at_ms: Some(link.linked_at.0),
                lid_migrated: Some(link.lid_migrated),
            }),
        };
        let mut writes = ChangeSet::default();
        writes.put(kind::DEVICE, "", encode(&record));
        writes
    }
}

fn read_linked(link: proto::Link) -> Result<Linked, AccountError> {
    Ok(Linked {
        jid: codec::jid(link.jid(), "device")?,
        lid: link.lid.as_deref().map(|text| codec::jid(text, "device")).transpose()?,
        device_identity: link.device_identity.clone().unwrap_or_default(),
        push_name: link.push_name().to_owned(),
        linked_at: Timestamp(link.linked_at_ms()),
        lid_migrated: link.lid_migrated(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::AccountKey;
    use crate::storage::{Changes, MemoryEngine, Overlay, Records};
    use std::sync::Arc;

    #[test]
    fn a_device_record_has_the_golden_form_and_is_read_back() {
        let key = |n| KeyPair::from_secret(SecretKey::from_bytes([n; 32]));
        let device = OwnDevice {
            noise: key(1),
            local: LocalParty { identity: IdentityKeyPair(key(2)), registration_id: 3 },
            adv_secret: Secret::new([4; 32]),
            login_counter: 5,
            routing_info: Some(vec![6]),
            linked: Some(Linked {
                jid: Jid::pn("15550001111").with_device(7),
                lid: Some(Jid::new("99", crate::wire::Server::Lid).with_device(7)),
                device_identity: vec![8],
                push_name: "Name".into(),
                linked_at: Timestamp(9),
                lid_migrated: true,
            }),
        };
        let mut changes = Changes::default();
        changes.absorb(device.to_writes());
        crate::golden::check("device-v1.hex", changes.writes[0].value.as_ref().unwrap());

        let overlay = Overlay::default();
        overlay.pin(1, &changes);
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let store = AccountStore::new(records, AccountKey::from_bytes([1; 16]), overlay);
        let read = OwnDevice::load(&store).unwrap().unwrap();
        assert_eq!(read.linked, device.linked);
        assert_eq!(read.noise.public(), device.noise.public());
        assert_eq!((read.login_counter, read.routing_info), (5, Some(vec![6])));
    }
}
