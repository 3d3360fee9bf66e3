//! The text of a linking QR code (`wire-protocol.md` 1.6; `sandbox-service.md` 2): what the companion shows, the phone reads.

use super::WireError;
use crate::base::secret::Secret;
use crate::signal::{IdentityKey, PublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Some clients put this before the five fields.
const PREFIX: &str = "https://wa.me/settings/linked_devices#";
/// The client type "Chrome".
const CHROME: &str = "1";

/// The content of a linking code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QrCode {
    pub reference: String,
    pub noise: PublicKey,
    pub identity: IdentityKey,
    pub adv_secret: Secret<32>,
}

impl QrCode {
    /// Five fields; phones refuse four.
    pub fn to_text(&self) -> String {
        format!(
            "{},{},{},{},{CHROME}",
            self.reference,
            STANDARD.encode(self.noise.as_bytes()),
            STANDARD.encode(self.identity.0.as_bytes()),
            STANDARD.encode(self.adv_secret.expose()),
        )
    }

    /// Reads four or five fields, with or without the link before them.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let malformed = WireError::Malformed { what: "qr code text" };
        let text = text.trim();
        let fields: Vec<&str> = text.strip_prefix(PREFIX).unwrap_or(text).split(',').collect();
        let [reference, noise, identity, secret] =
            fields.get(..4).and_then(|f| <[&str; 4]>::try_from(f).ok()).ok_or(malformed.clone())?;
        let key = |field: &str| {
            let bytes = STANDARD.decode(field).map_err(|_| malformed.clone())?;
            <[u8; 32]>::try_from(bytes).map_err(|_| malformed.clone())
        };
        Ok(Self {
            reference: reference.to_owned(),
            noise: PublicKey::from_bytes(key(noise)?),
            identity: IdentityKey(PublicKey::from_bytes(key(identity)?)),
            adv_secret: Secret::new(key(secret)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, vectors};

    #[test]
    fn the_text_equals_the_known_answer_and_is_read_back() {
        let v = &vectors()["qr"];
        let code = QrCode {
            reference: v["ref"].as_str().unwrap().to_owned(),
            noise: PublicKey::from_bytes(bytes(&v["noise_pub"])),
            identity: IdentityKey(PublicKey::from_bytes(bytes(&v["identity_pub"]))),
            adv_secret: Secret::new(bytes(&v["adv_secret"])),
        };
        let text = v["text"].as_str().unwrap();
        assert_eq!(code.to_text(), text);
        assert_eq!(QrCode::parse(text), Ok(code.clone()));
        assert_eq!(QrCode::parse(&format!("{PREFIX}{text}")), Ok(code.clone()));
        assert_eq!(QrCode::parse(text.strip_suffix(",1").unwrap()), Ok(code));
        assert!(QrCode::parse("a,b,c,d").is_err());
    }
}
