//! The client payload: identifies the client in the handshake's last message (`wire-protocol.md` 1.5).

use super::WireError;
use super::jid::{Jid, Server};
use super::proto::{ClientPayload, DeviceProps, client_payload as fields, device_props};
use crate::signal::{IdentityKey, KeyPair, PublicKey, SignedPreKeyPair, keys::KEY_TYPE};
use md5::{Digest, Md5};
use prost::Message;

/// The version of WhatsApp Web that we announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientVersion(pub u32, pub u32, pub u32);

impl ClientVersion {
    /// As observed in August 2026.
    pub const DEFAULT: Self = Self(2, 3000, 1_045_368_834);
}

impl std::fmt::Display for ClientVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

const PLATFORM_WEB: i32 = 14;
const CONNECT_WIFI_UNKNOWN: i32 = 1;
const REASON_USER_ACTIVATED: i32 = 1;
/// The device type that we announce: Chrome.
pub(super) const DEVICE_TYPE: i32 = 1;

fn common(version: ClientVersion) -> ClientPayload {
    ClientPayload {
        user_agent: Some(fields::UserAgent {
            platform: Some(PLATFORM_WEB),
            app_version: Some(fields::user_agent::AppVersion {
                primary: Some(version.0),
                secondary: Some(version.1),
                tertiary: Some(version.2),
            }),
            mcc: Some("000".into()),
            mnc: Some("000".into()),
            os_version: Some("0.1.0".into()),
            manufacturer: Some(String::new()),
            device: Some("Desktop".into()),
            os_build_number: Some("0.1.0".into()),
            release_channel: Some(0),
            locale_language: Some("en".into()),
            locale_country: Some("US".into()),
        }),
        web_info: Some(fields::WebInfo { web_sub_platform: Some(0) }),
        connect_type: Some(CONNECT_WIFI_UNKNOWN),
        connect_reason: Some(REASON_USER_ACTIVATED),
        passive: Some(false),
        ..ClientPayload::default()
    }
}

/// The payload of a linked device. `jid` is our own, with its device number.
pub fn login(jid: &Jid, version: ClientVersion, login_counter: u32) -> Result<Vec<u8>, WireError> {
    let username = jid.user().parse().map_err(|_| WireError::Malformed { what: "own phone number" })?;
    let payload = ClientPayload {
        username: Some(username),
        device: Some(u32::from(jid.device())),
        pull: Some(true),
        lc: Some(i32::try_from(login_counter).unwrap_or(i32::MAX)),
        lid_db_migrated: Some(false),
        ..common(version)
    };
    Ok(payload.encode_to_vec())
}

/// The payload of a device that is to be linked.
pub fn registration(
    version: ClientVersion,
    registration_id: u32,
    identity: &IdentityKey,
    signed_prekey: &SignedPreKeyPair,
    device_name: &str,
) -> Vec<u8> {
    let props = DeviceProps {
        os: Some(device_name.to_owned()),
        version: Some(device_props::AppVersion { primary: Some(0), secondary: Some(1), tertiary: Some(0) }),
        platform_type: Some(DEVICE_TYPE),
        require_full_sync: Some(false),
    };
    let data = fields::DevicePairingRegistrationData {
        e_regid: Some(registration_id.to_be_bytes().to_vec()),
        e_keytype: Some(vec![KEY_TYPE]),
        e_ident: Some(identity.0.as_bytes().to_vec()),
        e_skey_id: Some(signed_prekey.id.to_wire().to_vec()),
        e_skey_val: Some(signed_prekey.pair.public().as_bytes().to_vec()),
        e_skey_sig: Some(signed_prekey.signature.to_vec()),
        build_hash: Some(Md5::digest(version.to_string()).to_vec()),
        device_props: Some(props.encode_to_vec()),
    };
    ClientPayload { device_pairing_data: Some(data), pull: Some(false), ..common(version) }.encode_to_vec()
}

/// A client's payload as the service reads it.
#[derive(Debug, Clone)]
pub enum ClientIntent {
    /// A linked device logs in.
    Login { device: Jid },
    /// A new device is to be linked.
    Link { registration_id: u32, identity: IdentityKey, push_name: Option<String> },
}

/// Reads a client's payload; the signature of a new device's signed prekey is checked.
pub fn read(payload: &[u8]) -> Result<ClientIntent, WireError> {
    let payload = ClientPayload::decode(payload).map_err(|_| WireError::Malformed { what: "client payload" })?;
    let Some(data) = payload.device_pairing_data else {
        let (Some(user), Some(device)) = (payload.username, payload.device) else {
            return Err(WireError::Malformed { what: "client payload: neither login nor registration" });
        };
        let device = u16::try_from(device).map_err(|_| WireError::Malformed { what: "device number" })?;
        return Ok(ClientIntent::Login { device: Jid::new(user.to_string(), Server::Pn).with_device(device) });
    };
    let regid = data.e_regid().try_into().map_err(|_| WireError::Malformed { what: "registration id" })?;
    let identity = PublicKey::parse(data.e_ident(), "identity key")?;
    let signed = PublicKey::parse(data.e_skey_val(), "signed prekey")?;
    if !crate::signal::xeddsa::verify(&identity, &signed.typed(), data.e_skey_sig()) {
        return Err(WireError::Malformed { what: "signed prekey: its signature" });
    }
    Ok(ClientIntent::Link {
        registration_id: u32::from_be_bytes(regid),
        identity: IdentityKey(identity),
        push_name: payload.push_name,
    })
}

/// Static keys of a connection: ours, and the root of the service's certificates.
#[derive(Clone)]
pub struct NoiseKeys {
    pub ours: KeyPair,
    pub root: PublicKey,
}

impl std::fmt::Debug for NoiseKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoiseKeys").field("root", &self.root).finish_non_exhaustive()
    }
}
