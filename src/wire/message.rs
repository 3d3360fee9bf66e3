//! Messages inside the encryption: padding, ids, wrappers (`wire-protocol.md` 1.11).

use super::decode::inflate;
use super::proto::{HistorySync, Message, MessageContextInfo, message as fields};
use super::{WireError, reporting};
use crate::base::ids::MessageId;
use crate::base::time::Timestamp;
use prost::Message as _;
use rand::{CryptoRng, Rng};
use sha2::{Digest, Sha256};

/// Pads with `n` bytes of value `n`, 1..=16.
pub fn pad(mut plaintext: Vec<u8>, rng: &mut dyn Rng) -> Vec<u8> {
    let n = (rng.next_u32() % 16 + 1) as u8;
    plaintext.extend(std::iter::repeat_n(n, usize::from(n)));
    plaintext
}

/// Removes the padding; every byte of it is checked.
pub fn unpad(plaintext: &[u8]) -> Result<&[u8], WireError> {
    let malformed = WireError::Malformed { what: "padding" };
    let n = *plaintext.last().ok_or(malformed.clone())?;
    let cut = plaintext.len().checked_sub(usize::from(n)).ok_or(malformed.clone())?;
    let (body, padding) = plaintext.split_at(cut);
    if n == 0 || padding.iter().any(|byte| *byte != n) { Err(malformed) } else { Ok(body) }
}

/// A new id: `3EB0` and 18 upper-case hex digits of SHA-256(seconds u64 BE ‖ user ‖ `@c.us` ‖ 16 random bytes).
pub fn new_message_id(now: Timestamp, user: &str, rng: &mut dyn Rng) -> MessageId {
    let mut random = [0; 16];
    rng.fill_bytes(&mut random);
    message_id_from(now, user, &random)
}

fn message_id_from(now: Timestamp, user: &str, random: &[u8; 16]) -> MessageId {
    let digest = Sha256::new()
        .chain_update(now.secs().to_be_bytes())
        .chain_update(user)
        .chain_update("@c.us")
        .chain_update(random)
        .finalize();
    MessageId::new(format!("3EB0{}", hex::encode_upper(&digest[..9])))
}

/// Adds a fresh secret, which later add-ons to the message and its reporting token are keyed by.
pub fn with_secret(message: Message, rng: &mut dyn CryptoRng) -> Message {
    let mut secret = vec![0; 32];
    rng.fill_bytes(&mut secret);
    let info = MessageContextInfo { message_secret: Some(secret), reporting_token_version: Some(reporting::VERSION) };
    Message { message_context_info: Some(info), ..message }
}

/// The form that our own other devices get: where it went, and the message, its context hoisted.
pub fn device_sent(destination: &str, mut message: Message) -> Message {
    let message_context_info = message.message_context_info.take();
    let sent = fields::DeviceSentMessage {
        destination_jid: Some(destination.to_owned()),
        message: Some(Box::new(message)),
        phash: None,
    };
    Message { device_sent_message: Some(Box::new(sent)), message_context_info, ..Message::default() }
}

/// A piece of history: compressed, where the message itself brings it; otherwise it lies on the media host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History(pub Option<Vec<u8>>);

impl History {
    /// Inflates and reads what the message brings.
    pub fn read(&self) -> Result<Option<HistorySync>, WireError> {
        let Some(compressed) = &self.0 else { return Ok(None) };
        let inflated = inflate(compressed)?;
        HistorySync::decode(&*inflated).map(Some).map_err(|_| WireError::Malformed { what: "history" })
    }
}

/// A decrypted payload, unpadded and decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Set when another device of ours wrote it: where it went.
    pub sent_to: Option<String>,
    /// A sender key that came with it.
    pub sender_key: Option<CarriedSenderKey>,
    /// The message without its wrapper and without the sender key.
    pub message: Message,
}

/// A sender key as a message carries it: the group it is for, and its distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedSenderKey {
    pub group: String,
    pub distribution: Vec<u8>,
}

/// A message that brings our sender key for a group.
pub fn sender_key_message(group: &str, distribution: Vec<u8>) -> Message {
    let key = fields::SenderKeyDistributionMessage {
        group_id: Some(group.to_owned()),
        axolotl_sender_key_distribution_message: Some(distribution),
    };
    Message { sender_key_distribution_message: Some(key), ..Message::default() }
}

/// Unpads and decodes a decrypted payload, and opens the wrapper of a message that another device of ours wrote.
pub fn decode(padded: &[u8]) -> Result<Decoded, WireError> {
    let mut message = Message::decode(unpad(padded)?).map_err(|_| WireError::Malformed { what: "message" })?;
    let sender_key = message.sender_key_distribution_message.take().map(|key| CarriedSenderKey {
        group: key.group_id.unwrap_or_default(),
        distribution: key.axolotl_sender_key_distribution_message.unwrap_or_default(),
    });
    let (sent_to, message) = match message.device_sent_message {
        Some(sent) => (sent.destination_jid, sent.message.map(|inner| *inner).unwrap_or_default()),
        None => {
            // The context describes a message and is none by itself.
            message.message_context_info = None;
            (None, message)
        }
    };
    Ok(Decoded { sent_to, sender_key, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, rng, vector_bytes, vectors};

    #[test]
    fn padding_equals_the_known_answers() {
        let v = &vectors()["padding"];
        for n in [1, 5, 16] {
            let padded = vector_bytes(&v[format!("0a03414243 n={n}")]);
            assert_eq!(hex::encode(unpad(&padded).unwrap()), "0a03414243");
        }
        for bad in [&[][..], &[0], &[5, 5], &[1, 3, 2, 3]] {
            assert!(unpad(bad).is_err(), "{bad:?}");
        }
        let mut rng = rng(1);
        for _ in 0..100 {
            assert_eq!(unpad(&pad(b"abc".to_vec(), &mut rng)).unwrap(), b"abc");
        }
    }

    #[test]
    fn a_message_id_equals_the_known_answer() {
        let v = &vectors()["message_id"];
        let now = Timestamp::from_secs(v["unix_secs"].as_u64().unwrap());
        let id = message_id_from(now, v["user"].as_str().unwrap(), &bytes(&v["random16"]));
        assert_eq!(id.as_str(), v["id"].as_str().unwrap());
    }

    #[test]
    fn a_text_to_our_own_devices_says_where_it_went() {
        let mut rng = rng(1);
        let text = Message { conversation: Some("hi".into()), ..Message::default() };
        let message = device_sent("1@lid", with_secret(text, &mut rng));
        assert!(message.message_context_info.is_some(), "the context is hoisted");
        let decoded = decode(&pad(message.encode_to_vec(), &mut rng)).unwrap();
        assert_eq!(decoded.sent_to.as_deref(), Some("1@lid"));
        assert_eq!(decoded.message.conversation.as_deref(), Some("hi"));
    }
}
