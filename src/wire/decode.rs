//! Bytes to nodes (`wire-protocol.md` 1.4), for hostile bytes.
//!
//! Invariant: memory stays in proportion to the frame: inflation, depth, and the number of nodes and attributes are bounded before
//! memory is given.

use super::WireError;
use super::dictionary::{Token, text_of};
use super::encode::tag;
use super::jid::{Jid, Server, is_user};
use super::node::{Content, Node, Value};
use std::borrow::Cow;
use std::io::Read;

/// Nodes nested this deep are refused.
const MAX_DEPTH: usize = 128;
/// The most bytes that compressed bytes inflate to.
const MAX_INFLATED: usize = 16 * 1024 * 1024;
/// Compressed bytes inflate to this many, and to [`INFLATION`] for each of their own. Long lists of devices compress to a tenth.
const MIN_INFLATED: usize = 64 * 1024;
const INFLATION: usize = 32;
/// The most nodes and attributes of a frame.
const MAX_ITEMS: usize = 300_000;
/// A frame has this many nodes and attributes, and one more for each [`BYTES_PER_ITEM`] of its bytes.
const MIN_ITEMS: usize = 4096;
const BYTES_PER_ITEM: usize = 3;
/// Room for the children of a node before they are read.
const RESERVED_NODES: usize = 32;
/// Format bit: the body is zlib-compressed (RFC 1950).
const FORMAT_ZLIB: u8 = 2;

/// Decodes the payload of a frame: a format byte, then one node and nothing after it.
pub fn decode_frame(payload: &[u8]) -> Result<Node, WireError> {
    let (format, body) = payload.split_first().ok_or(WireError::Truncated { what: "frame" })?;
    let inflated;
    let body = if format & FORMAT_ZLIB == 0 {
        body
    } else {
        inflated = inflate(body)?;
        &inflated
    };
    let items = MAX_ITEMS.min(MIN_ITEMS + body.len() / BYTES_PER_ITEM);
    let mut reader = Reader { bytes: body, items };
    let node = reader.node(0)?;
    if reader.bytes.is_empty() { Ok(node) } else { Err(WireError::Malformed { what: "frame: bytes after the node" }) }
}

/// Inflates zlib-compressed bytes, in proportion to their length.
pub(super) fn inflate(body: &[u8]) -> Result<Vec<u8>, WireError> {
    let limit = MAX_INFLATED.min(MIN_INFLATED + INFLATION * body.len());
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(body)
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|_| WireError::Malformed { what: "compressed frame" })?;
    if out.len() > limit {
        return Err(WireError::TooLarge { what: "inflated frame", limit });
    }
    Ok(out)
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Nodes and attributes that may still be read.
    items: usize,
}

/// The value at a string position.
enum Str {
    Text(Cow<'static, str>),
    Bytes(Vec<u8>),
    Jid(Jid),
}

impl Str {
    fn text(self, what: &'static str) -> Result<Cow<'static, str>, WireError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Bytes(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| WireError::Malformed { what }),
            Self::Jid(jid) => Ok(Cow::Owned(jid.to_string())),
        }
    }
}

/// A JID, or its text where the user part cannot be one: only the stanza that needs a JID there is malformed.
fn jid_or_text(user: Cow<'static, str>, server: Server, device: u16) -> Str {
    if is_user(&user) {
        return Str::Jid(Jid::new(user.as_ref(), server).with_device(device));
    }
    let server = server.as_str();
    let text = if device == 0 { format!("{user}@{server}") } else { format!("{user}:{device}@{server}") };
    Str::Text(Cow::Owned(text))
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.bytes.split_at_checked(count).ok_or(WireError::Truncated { what: "node" })?;
        self.bytes = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, size: usize) -> Result<usize, WireError> {
        Ok(self.take(size)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
    }

    fn list_size(&mut self, tag: u8) -> Result<usize, WireError> {
        match tag {
            tag::LIST_EMPTY => Ok(0),
            tag::LIST_8 => self.number(1),
            tag::LIST_16 => self.number(2),
            _ => Err(WireError::Malformed { what: "list" }),
        }
    }

    fn count_items(&mut self, more: usize) -> Result<(), WireError> {
        let too_many = WireError::Malformed { what: "frame: more nodes and attributes than its bytes can need" };
        self.items = self.items.checked_sub(more).ok_or(too_many)?;
        Ok(())
    }

    fn node(&mut self, depth: usize) -> Result<Node, WireError> {
        if depth >= MAX_DEPTH {
            return Err(WireError::Malformed { what: "node: nested too deeply" });
        }
        let list_tag = self.byte()?;
        let size = self.list_size(list_tag)?;
        if size == 0 {
            return Err(WireError::Malformed { what: "node: empty list" });
        }
        let tag_byte = self.byte()?;
        let tag = self.string(tag_byte)?.text("tag")?;
        let mut attrs = Vec::new();
        self.count_items(1 + (size - 1) / 2)?;
        for _ in 0..(size - 1) / 2 {
            let key_byte = self.byte()?;
            let key = self.string(key_byte)?.text("attribute name")?;
            let value_byte = self.byte()?;
            let value = match self.string(value_byte)? {
                Str::Jid(jid) => Value::Jid(jid),
                other => Value::Text(other.text("attribute")?),
            };
            attrs.push((key, value));
        }
        let content = if size % 2 == 0 { self.content(depth)? } else { Content::None };
        Ok(Node { tag, attrs, content })
    }

    fn content(&mut self, depth: usize) -> Result<Content, WireError> {
        match self.byte()? {
            tag::LIST_EMPTY => Ok(Content::None),
            list @ (tag::LIST_8 | tag::LIST_16) => {
                let size = self.list_size(list)?;
                if size == 0 {
                    return Ok(Content::None);
                }
                let mut nodes = Vec::with_capacity(size.min(RESERVED_NODES));
                for _ in 0..size {
                    nodes.push(self.node(depth + 1)?);
                }
                Ok(Content::Nodes(nodes))
            }
            other => Ok(match self.string(other)? {
                Str::Bytes(bytes) => Content::Bytes(bytes),
                other => Content::Text(other.text("content")?.into_owned()),
            }),
        }
    }

    fn string(&mut self, tag: u8) -> Result<Str, WireError> {
        let token = |token| text_of(token).map(Cow::Borrowed).ok_or(WireError::Malformed { what: "token" });
        Ok(match tag {
            tag::LIST_EMPTY => Str::Text(Cow::Borrowed("")),
            1..=235 => Str::Text(token(Token::Single(tag))?),
            tag::DICT_0..=tag::DICT_3 => Str::Text(token(Token::Double(tag - tag::DICT_0, self.byte()?))?),
            tag::BINARY_8 => self.binary(1, usize::MAX)?,
            tag::BINARY_20 => self.binary(3, 0xf_ffff)?,
            tag::BINARY_32 => self.binary(4, usize::MAX)?,
            tag::NIBBLE_8 => Str::Text(self.packed(b"0123456789-.")?),
            tag::HEX_8 => Str::Text(self.packed(b"0123456789ABCDEF")?),
            tag::JID_PAIR => {
                let user = self.jid_part()?;
                let server = self.jid_part()?;
                let server = Server::parse(&server).ok_or(WireError::Malformed { what: "jid: unknown server" })?;
                jid_or_text(user, server, 0)
            }
            tag::AD_JID => {
                let domain = self.byte()?;
                let device = u16::from(self.byte()?);
                let user = self.jid_part()?;
                if user.is_empty() {
                    return Err(WireError::Malformed { what: "jid: a device without a user" });
                }
                let server = Server::from_domain(domain).ok_or(WireError::Malformed { what: "jid: unknown domain" })?;
                jid_or_text(user, server, device)
            }
            tag::FB_JID => {
                let user = self.jid_part()?;
                let device = self.number(2)? as u16;
                self.jid_part()?;
                jid_or_text(user, Server::Messenger, device)
            }
            tag::INTEROP_JID => {
                let user = self.jid_part()?;
                let device = self.number(2)? as u16;
                let integrator = self.number(2)? as u16;
                self.jid_part()?;
                match jid_or_text(user, Server::Interop, device) {
                    Str::Jid(jid) => Str::Jid(jid.with_integrator(integrator)),
                    text => text,
                }
            }
            _ => return Err(WireError::Malformed { what: "tag" }),
        })
    }

    /// The user or server of a JID: a string, and never a JID itself, so that decoding cannot recurse.
    fn jid_part(&mut self) -> Result<Cow<'static, str>, WireError> {
        match self.byte()? {
            tag::JID_PAIR | tag::AD_JID | tag::FB_JID | tag::INTEROP_JID => {
                Err(WireError::Malformed { what: "jid inside a jid" })
            }
            other => self.string(other)?.text("jid"),
        }
    }

    fn binary(&mut self, size: usize, mask: usize) -> Result<Str, WireError> {
        let length = self.number(size)? & mask;
        Ok(Str::Bytes(self.take(length)?.to_vec()))
    }

    fn packed(&mut self, alphabet: &[u8]) -> Result<Cow<'static, str>, WireError> {
        let malformed = WireError::Malformed { what: "packed string" };
        let head = self.byte()?;
        let bytes = self.take(usize::from(head & 0x7f))?;
        let odd = head & 0x80 != 0;
        if odd && bytes.last().is_none_or(|last| last & 0x0f != 0x0f) {
            return Err(malformed);
        }
        let digits = bytes.len() * 2 - usize::from(odd);
        let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).take(digits);
        let text: Option<String> =
            nibbles.map(|nibble| alphabet.get(usize::from(nibble)).map(|c| char::from(*c))).collect();
        text.map(Cow::Owned).ok_or(malformed)
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
