//! Reporting tokens: with one, the recipient proves the content of a message to the service (`linking-and-tokens.md` 2).
//!
//! The token covers some of the message's fields, as they are encoded.

use super::Jid;
use super::node::Node;
use crate::base::ids::MessageId;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const VERSION: i32 = 2;
/// The depth to which nested messages are read.
const MAX_DEPTH: usize = 8;

/// The covered part of a field.
enum Take {
    /// All of it.
    Whole,
    /// Of the message in it, these fields.
    Fields(&'static [(u32, Take)]),
    /// Of the message in it, the same fields as of a whole message.
    Root,
}
use Take::{Fields, Root, Whole};

/// Fields 21 and 22 of a context.
const CONTEXT: Take = Fields(&[(21, Whole), (22, Whole)]);
const NESTED: Take = Fields(&[(1, Root)]);
const KEPT: Take = Fields(&[(2, Whole), (6, Whole), (7, Whole), (13, Whole), (17, CONTEXT), (20, Whole)]);
const POLL: Take =
    Fields(&[(2, Whole), (3, Fields(&[(1, Whole), (2, Whole)])), (5, CONTEXT), (8, Fields(&[(1, Whole), (2, Whole)]))]);

/// The fields of a message that are covered.
const MESSAGE: &[(u32, Take)] = &[
    (1, Whole),
    (3, Fields(&[(2, Whole), (3, Whole), (8, Whole), (11, Whole), (17, CONTEXT), (25, Whole)])),
    (4, Fields(&[(1, Whole), (16, Whole), (17, CONTEXT)])),
    (5, Fields(&[(3, Whole), (4, Whole), (5, Whole), (16, Whole), (17, CONTEXT)])),
    (6, Fields(&[(1, Whole), (17, CONTEXT), (30, Whole)])),
    (7, Fields(&[(2, Whole), (7, Whole), (10, Whole), (17, CONTEXT), (20, Whole)])),
    (8, Fields(&[(2, Whole), (7, Whole), (9, Whole), (17, CONTEXT), (21, Whole)])),
    (9, KEPT),
    (12, Fields(&[(1, Whole), (2, Whole), (14, Root), (15, Whole)])),
    (18, Fields(&[(6, Whole), (16, Whole), (17, CONTEXT)])),
    (26, Fields(&[(4, Whole), (5, Whole), (8, Whole), (13, Whole), (17, CONTEXT)])),
    (28, Fields(&[(1, Whole), (2, Whole), (4, Whole), (5, Whole), (6, Whole), (7, CONTEXT)])),
    (37, NESTED),
    (49, POLL),
    (53, NESTED),
    (55, NESTED),
    (58, NESTED),
    (59, NESTED),
    (60, POLL),
    (64, POLL),
    (66, KEPT),
    (74, NESTED),
    (87, NESTED),
    (88, Fields(&[(1, Whole), (2, Fields(&[(1, Whole)])), (3, CONTEXT)])),
    (92, NESTED),
    (93, NESTED),
    (94, NESTED),
];

/// The token of an encoded, unpadded message; `None` when nothing of it is covered. `sender` is our own JID in the namespace of
/// the stanza, `remote` the chat.
pub fn token(message: &[u8], secret: &[u8], id: &MessageId, sender: &Jid, remote: &Jid) -> Option<[u8; 16]> {
    let content = covered(message, MESSAGE, 0)?;
    if content.is_empty() {
        return None;
    }
    let info = format!("{id}{}{}Report Token", sender.bare(), remote.bare());
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, secret).expand(info.as_bytes(), &mut key).ok()?;
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).ok()?;
    let full = mac.chain_update(content).finalize().into_bytes();
    full[..16].try_into().ok()
}

/// `<reporting>` with a token.
pub fn node(token: [u8; 16]) -> Node {
    let token = Node::new("reporting_token").attr("v", VERSION.to_string()).bytes(token);
    Node::new("reporting").child(token)
}

/// The covered fields in order of their numbers; `None` where the bytes are no message.
fn covered(message: &[u8], fields: &[(u32, Take)], depth: usize) -> Option<Vec<u8>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut taken: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let begin = rest;
        let tag = varint(&mut rest)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let (head, body) = match tag & 7 {
            0 => (varint(&mut rest).map(|_| &[][..])?, &[][..]),
            1 => (skip(&mut rest, 8)?, &[][..]),
            5 => (skip(&mut rest, 4)?, &[][..]),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                (&[][..], skip(&mut rest, length)?)
            }
            _ => return None,
        };
        let _ = head;
        let raw = &begin[..begin.len() - rest.len()];
        let Some((_, take)) = fields.iter().find(|(wanted, _)| *wanted == number) else { continue };
        let inner = match take {
            Whole => {
                taken.push((number, raw.to_vec()));
                continue;
            }
            Fields(inner) => inner,
            Root => MESSAGE,
        };
        if tag & 7 == 2 {
            let inner = covered(body, inner, depth + 1)?;
            if !inner.is_empty() {
                let mut framed = Vec::with_capacity(inner.len() + 6);
                put_varint(&mut framed, tag);
                put_varint(&mut framed, inner.len() as u64);
                framed.extend(inner);
                taken.push((number, framed));
            }
        }
    }
    taken.sort_by_key(|(number, _)| *number);
    Some(taken.into_iter().flat_map(|(_, bytes)| bytes).collect())
}

fn skip<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(rest).ok()
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Server;

    fn jid(user: &str) -> Jid {
        Jid::new(user, Server::Lid)
    }

    #[test]
    fn the_token_of_a_text_equals_the_known_answer() {
        let id = MessageId::new("3EB0AAAAAAAAAAAAAAAAAA");
        let token = token(b"\x0a\x05hello", &[0xdd; 32], &id, &jid("111").with_device(3), &jid("222")).unwrap();
        assert_eq!(hex::encode(token), "81d291e3fe3508948780c77112dd350f");
    }

    #[test]
    fn nested_fields_are_filtered_and_encoded_in_order_of_their_numbers() {
        // Extended text: 1 text, 2 is not covered, 17 {1 not covered, 21 covered}; behind it the covered conversation.
        let context = [&[0x0a, 1, b'x'][..], &[0xa8, 0x01, 7]].concat();
        let text =
            [&[0x0a, 2, b'h', b'i'][..], &[0x12, 1, b'u'], &[0x8a, 0x01, context.len() as u8], &context].concat();
        let message = [&[0x32, text.len() as u8][..], &text, &[0x0a, 1, b'a']].concat();
        let kept_context = [0xa8, 0x01, 7];
        let kept = [&[0x0a, 2, b'h', b'i'][..], &[0x8a, 0x01, 3], &kept_context].concat();
        let expected = [&[0x0a, 1, b'a'][..], &[0x32, kept.len() as u8], &kept].concat();
        assert_eq!(covered(&message, MESSAGE, 0).unwrap(), expected);
    }

    #[test]
    fn messages_without_covered_fields_and_malformed_ones_have_no_token() {
        let id = MessageId::new("1");
        for message in [&b""[..], &[0x12, 1, 0], &[0x0b], &[0x0a, 9, 1], &[0xff; 12]] {
            assert_eq!(token(message, &[1; 32], &id, &jid("1"), &jid("2")), None, "{message:?}");
        }
    }
}
