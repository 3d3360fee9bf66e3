//! Media retry: the request that the phone upload a medium again, and its answer (`linking-and-tokens.md` 4).

use super::WireError;
use super::proto::{MediaRetryNotification, ServerErrorReceipt};
use crate::base::ids::MessageId;
use crate::base::secret::Secret;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use prost::Message;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The phone's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Uploaded to this path; key and hashes are unchanged.
    Uploaded {
        direct_path: String,
    },
    NotOnPhone,
    CannotDecrypt,
    Failed,
}

fn cipher(media_key: &Secret<32>) -> Aes256Gcm {
    let mut key = Zeroizing::new([0; 32]);
    let info = b"WhatsApp Media Retry Notification";
    let filled = Hkdf::<Sha256>::new(None, media_key.expose()).expand(info, &mut *key);
    debug_assert!(filled.is_ok(), "32 bytes are below hkdf's limit");
    Aes256Gcm::new((&*key).into())
}

/// The encrypted request for the medium of this message: `enc_p`.
pub fn ask(media_key: &Secret<32>, id: &MessageId, iv: &[u8; 12]) -> Result<Vec<u8>, WireError> {
    let plain = ServerErrorReceipt { stanza_id: Some(id.to_string()) }.encode_to_vec();
    let payload = Payload { msg: &plain, aad: id.as_str().as_bytes() };
    cipher(media_key).encrypt(iv.into(), payload).map_err(|_| WireError::Malformed { what: "media retry" })
}

/// Decrypts the phone's answer.
pub fn read_answer(media_key: &Secret<32>, id: &MessageId, iv: &[u8; 12], sealed: &[u8]) -> Result<Answer, WireError> {
    let malformed = || WireError::Malformed { what: "media retry" };
    let payload = Payload { msg: sealed, aad: id.as_str().as_bytes() };
    let plain = cipher(media_key).decrypt(iv.into(), payload).map_err(|_| malformed())?;
    let answer = MediaRetryNotification::decode(&*plain).map_err(|_| malformed())?;
    if answer.stanza_id.as_deref() != Some(id.as_str()) {
        return Err(malformed());
    }
    match (answer.result(), answer.direct_path) {
        (1, Some(direct_path)) => Ok(Answer::Uploaded { direct_path }),
        (1, None) => Err(malformed()),
        (2, _) => Ok(Answer::NotOnPhone),
        (3, _) => Ok(Answer::CannotDecrypt),
        _ => Ok(Answer::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IV: [u8; 12] = [0xbb; 12];

    fn key() -> Secret<32> {
        Secret::new([0xaa; 32])
    }

    #[test]
    fn the_request_equals_the_known_answer() {
        let sealed = ask(&key(), &MessageId::new("3EB0AAAAAAAAAAAAAAAAAA"), &IV).unwrap();
        let expected = "c34c60ee5c7dfbea0d4c1cec3e3fe7e3d26ea74f4183315e437b808e0e9900200ffcb69306ca59e0";
        assert_eq!(hex::encode(sealed), expected);
    }

    fn answer(id: &str, direct_path: Option<&str>, result: i32) -> Result<Answer, WireError> {
        let stanza_id = Some(id.to_owned());
        let notification =
            MediaRetryNotification { stanza_id, direct_path: direct_path.map(str::to_owned), result: Some(result) };
        let plain = notification.encode_to_vec();
        let sealed = cipher(&key()).encrypt((&IV).into(), Payload { msg: &plain, aad: b"A" }).unwrap();
        read_answer(&key(), &MessageId::new("A"), &IV, &sealed)
    }

    #[test]
    fn an_answer_is_bound_to_its_message_and_a_success_has_the_path() {
        assert_eq!(answer("A", Some("/v/1"), 1), Ok(Answer::Uploaded { direct_path: "/v/1".into() }));
        assert!(answer("A", None, 1).is_err());
        assert!(answer("B", Some("/v/1"), 1).is_err());
        assert_eq!(answer("A", None, 2), Ok(Answer::NotOnPhone));
        assert_eq!(answer("A", None, 3), Ok(Answer::CannotDecrypt));
        assert_eq!(answer("A", None, 0), Ok(Answer::Failed));
        assert!(read_answer(&key(), &MessageId::new("A"), &IV, &[0; 30]).is_err());
    }
}
