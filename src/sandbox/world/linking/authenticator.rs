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
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(in crate::sandbox::world) const RP_ID: &str = "whatsapp.com";
const ORIGIN: &str = "https://web.whatsapp.com";
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

    /// Answers request options as a browser's `PublicKeyCredential.toJSON()` does.
    pub(in crate::sandbox::world) fn sign(&mut self, options: &Value) -> Option<Value> {
        self.sign_count += 1;
        let challenge = options["challenge"].as_str()?;
        let rp_id = options["rpId"].as_str()?;
        let client_data =
            json!({ "type": "webauthn.get", "challenge": challenge, "origin": ORIGIN, "crossOrigin": false })
                .to_string();
        let mut data = Sha256::digest(rp_id).to_vec();
        data.push(FLAGS);
        data.extend(self.sign_count.to_be_bytes());
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let signature = self.pair()?.sign(&SystemRandom::new(), &signed).ok()?;
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Some(json!({
            "id": text(&self.id),
            "rawId": text(&self.id),
            "type": "public-key",
            "response": {
                "clientDataJSON": text(client_data.as_bytes()),
                "authenticatorData": text(&data),
                "signature": text(signature.as_ref()),
                "userHandle": text(&self.user_handle),
            },
            "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        }))
    }

    /// Checks an assertion for this challenge.
    pub(in crate::sandbox::world) fn verify(
        &self,
        credential_id: &[u8],
        assertion: &[u8],
        challenge: &[u8],
    ) -> Result<(), Refusal> {
        let malformed = || (400, "malformed-assertion");
        let assertion: Value = serde_json::from_slice(assertion).map_err(|_| malformed())?;
        let binary =
            |value: &Value| value.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(malformed);
        let response = &assertion["response"];
        if credential_id != self.id || binary(&assertion["rawId"])? != self.id {
            return Err((404, "unknown-credential"));
        }
        let (client_data, data) = (binary(&response["clientDataJSON"])?, binary(&response["authenticatorData"])?);
        let said: Value = serde_json::from_slice(&client_data).map_err(|_| malformed())?;
        if said["type"] != "webauthn.get" || said["origin"] != ORIGIN {
            return Err((401, "wrong-origin"));
        }
        if binary(&said["challenge"])? != challenge {
            return Err((401, "wrong-challenge"));
        }
        if data.get(..32) != Some(&*Sha256::digest(RP_ID)) || data.get(32).is_none_or(|flags| flags & FLAGS != FLAGS) {
            return Err((401, "wrong-authenticator-data"));
        }
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let pair = self.pair().ok_or((500, "unreadable-key"))?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key().as_ref());
        public.verify(&signed, &binary(&response["signature"])?).map_err(|_| (401, "wrong-signature"))
    }
}

/// Request options with this challenge, as the real service sends them.
pub(in crate::sandbox::world) fn options(challenge: &[u8]) -> Value {
    json!({
        "challenge": URL_SAFE_NO_PAD.encode(challenge),
        "timeout": 600_000,
        "rpId": RP_ID,
        "allowCredentials": [],
        "userVerification": "required",
        "extensions": { "uvm": true },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertion_verifies_only_with_its_challenge_and_its_credential() {
        let mut mine = Credential::generate([1; 16], [2; 16]).unwrap();
        let other = Credential::generate([1; 16], [2; 16]).unwrap();
        let signed = mine.sign(&options(&[7; 32])).unwrap();
        let bytes = signed.to_string().into_bytes();
        assert_eq!(mine.verify(&[1; 16], &bytes, &[7; 32]), Ok(()));
        assert_eq!(mine.verify(&[1; 16], &bytes, &[8; 32]), Err((401, "wrong-challenge")));
        assert_eq!(mine.verify(&[9; 16], &bytes, &[7; 32]), Err((404, "unknown-credential")));
        assert_eq!(other.verify(&[1; 16], &bytes, &[7; 32]), Err((401, "wrong-signature")));
        assert_eq!(mine.verify(&[1; 16], b"{}", &[7; 32]), Err((400, "malformed-assertion")));
    }
}
