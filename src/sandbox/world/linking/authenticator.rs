//! A virtual authenticator: the passkey of a simulated person (`linking-and-tokens.md` 1.6, 1.9).
//!
//! Its key and its signatures use randomness of the operating system: ring accepts no other.

use crate::sandbox::world::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const RP_ID: &str = "whatsapp.com";
const ORIGIN: &str = "https://web.whatsapp.com";
const CEREMONY: &str = "webauthn.get";
/// User present and user verified.
const FLAGS: u8 = 0x05;

/// A passkey that is registered to an account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::world) struct Credential {
    #[serde(with = "hex")]
    id: Vec<u8>,
    #[serde(with = "hex")]
    pkcs8: Vec<u8>,
    #[serde(with = "hex")]
    user_handle: Vec<u8>,
    sign_count: u32,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl Credential {
    pub(in crate::sandbox::world) fn generate(id: [u8; 16], user_handle: [u8; 16]) -> Option<Self> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).ok()?;
        let (id, user_handle) = (id.to_vec(), user_handle.to_vec());
        Some(Self { id, pkcs8: pkcs8.as_ref().to_vec(), user_handle, sign_count: 0 })
    }

    fn pair(&self) -> Option<EcdsaKeyPair> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.pkcs8, &SystemRandom::new()).ok()
    }

    /// Signs request options as a browser does; `None` when they cannot be read.
    pub(in crate::sandbox::world) fn sign(&mut self, options: &Value) -> Option<Value> {
        let options = RequestOptions::deserialize(options).ok()?;
        self.sign_count += 1;
        let client_data = serde_json::to_string(&ClientData {
            challenge: options.challenge,
            cross_origin: false,
            origin: ORIGIN.into(),
            kind: CEREMONY.into(),
        })
        .ok()?;
        let mut data = Sha256::digest(options.rp_id).to_vec();
        data.push(FLAGS);
        data.extend(self.sign_count.to_be_bytes());
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let signature = self.pair()?.sign(&SystemRandom::new(), &signed).ok()?;
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        serde_json::to_value(Assertion {
            id: text(&self.id),
            raw_id: text(&self.id),
            kind: "public-key".into(),
            authenticator_attachment: "platform".into(),
            client_extension_results: BTreeMap::new(),
            response: AssertionResponse {
                authenticator_data: text(&data),
                client_data_json: text(client_data.as_bytes()),
                signature: text(signature.as_ref()),
                user_handle: text(&self.user_handle),
            },
        })
        .ok()
    }

    /// Checks an assertion for this challenge.
    pub(in crate::sandbox::world) fn verify(
        &self,
        credential_id: &[u8],
        assertion: &[u8],
        challenge: &[u8],
    ) -> Result<(), Refusal> {
        let malformed = || (400, "malformed-assertion");
        let assertion: Assertion = serde_json::from_slice(assertion).map_err(|_| malformed())?;
        let binary = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed());
        let response = &assertion.response;
        if credential_id != self.id || binary(&assertion.raw_id)? != self.id {
            return Err((404, "unknown-credential"));
        }
        let (client_data, data) = (binary(&response.client_data_json)?, binary(&response.authenticator_data)?);
        let claimed: ClientData = serde_json::from_slice(&client_data).map_err(|_| malformed())?;
        if claimed.kind != CEREMONY || claimed.origin != ORIGIN {
            return Err((401, "wrong-origin"));
        }
        if binary(&claimed.challenge)? != challenge {
            return Err((401, "wrong-challenge"));
        }
        if data.get(..32) != Some(&*Sha256::digest(RP_ID)) || data.get(32).is_none_or(|flags| flags & FLAGS != FLAGS) {
            return Err((401, "wrong-authenticator-data"));
        }
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let pair = self.pair().ok_or((500, "unreadable-key"))?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key().as_ref());
        public.verify(&signed, &binary(&response.signature)?).map_err(|_| (401, "wrong-signature"))
    }
}

/// `PublicKeyCredentialRequestOptions`. Here as below, fields that are not needed are written but not read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestOptions {
    challenge: String,
    rp_id: String,
    #[serde(skip_deserializing)]
    timeout: u32,
    #[serde(skip_deserializing)]
    allow_credentials: [(); 0],
    #[serde(skip_deserializing)]
    user_verification: String,
    #[serde(skip_deserializing)]
    extensions: BTreeMap<String, bool>,
}

/// `CollectedClientData`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    challenge: String,
    #[serde(skip_deserializing)]
    cross_origin: bool,
    origin: String,
    #[serde(rename = "type")]
    kind: String,
}

/// A `PublicKeyCredential` as `toJSON()` shows it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assertion {
    #[serde(skip_deserializing)]
    id: String,
    raw_id: String,
    #[serde(rename = "type", skip_deserializing)]
    kind: String,
    #[serde(skip_deserializing)]
    authenticator_attachment: String,
    #[serde(skip_deserializing)]
    client_extension_results: BTreeMap<String, Value>,
    response: AssertionResponse,
}

/// `AuthenticatorAssertionResponse`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssertionResponse {
    authenticator_data: String,
    #[serde(rename = "clientDataJSON")]
    client_data_json: String,
    signature: String,
    #[serde(skip_deserializing)]
    user_handle: String,
}

/// Request options with this challenge, as the real service sends them.
pub(in crate::sandbox::world) fn options(challenge: &[u8]) -> Vec<u8> {
    let options = RequestOptions {
        challenge: URL_SAFE_NO_PAD.encode(challenge),
        rp_id: RP_ID.to_owned(),
        timeout: 600_000,
        allow_credentials: [],
        user_verification: "required".to_owned(),
        extensions: BTreeMap::from([("uvm".to_owned(), true)]),
    };
    // A struct of strings and numbers always serializes.
    serde_json::to_vec(&options).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertion_verifies_only_with_its_challenge_and_its_credential() {
        let mut mine = Credential::generate([1; 16], [2; 16]).unwrap();
        let other = Credential::generate([1; 16], [2; 16]).unwrap();
        let signed = mine.sign(&serde_json::from_slice(&options(&[7; 32])).unwrap()).unwrap();
        let bytes = signed.to_string().into_bytes();
        assert_eq!(mine.verify(&[1; 16], &bytes, &[7; 32]), Ok(()));
        assert_eq!(mine.verify(&[1; 16], &bytes, &[8; 32]), Err((401, "wrong-challenge")));
        assert_eq!(mine.verify(&[9; 16], &bytes, &[7; 32]), Err((404, "unknown-credential")));
        assert_eq!(other.verify(&[1; 16], &bytes, &[7; 32]), Err((401, "wrong-signature")));
        assert_eq!(mine.verify(&[1; 16], b"{}", &[7; 32]), Err((400, "malformed-assertion")));
    }
}
