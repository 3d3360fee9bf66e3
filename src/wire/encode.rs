//! Nodes to bytes (`wire-protocol.md` 1.4).

use super::dictionary::{Token, token_of};
use super::jid::{Jid, Server};
use super::node::{Content, Node, Value};

pub(super) mod tag {
    pub const LIST_EMPTY: u8 = 0;
    pub const DICT_0: u8 = 236;
    pub const DICT_3: u8 = 239;
    pub const INTEROP_JID: u8 = 245;
    pub const FB_JID: u8 = 246;
    pub const AD_JID: u8 = 247;
    pub const LIST_8: u8 = 248;
    pub const LIST_16: u8 = 249;
    pub const JID_PAIR: u8 = 250;
    pub const HEX_8: u8 = 251;
    pub const BINARY_8: u8 = 252;
    pub const BINARY_20: u8 = 253;
    pub const BINARY_32: u8 = 254;
    pub const NIBBLE_8: u8 = 255;
}

/// The longest string that is packed into nibbles.
const PACKED_MAX: usize = 127;

/// The payload of a frame: format byte 0, then the node.
pub fn encode_frame(node: &Node) -> Vec<u8> {
    let mut out = vec![0];
    write_node(&mut out, node);
    out
}

/// The node alone, without a format byte.
pub fn encode_node(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    write_node(&mut out, node);
    out
}

fn write_node(out: &mut Vec<u8>, node: &Node) {
    let empty = match &node.content {
        Content::None => true,
        Content::Nodes(nodes) => nodes.is_empty(),
        _ => false,
    };
    write_list(out, 1 + 2 * node.attrs.len() + usize::from(!empty));
    write_text(out, &node.tag);
    for (key, value) in &node.attrs {
        write_text(out, key);
        match value {
            Value::Text(text) => write_text(out, text),
            Value::Jid(jid) => write_jid(out, jid),
        }
    }
    match &node.content {
        _ if empty => {}
        Content::None => {}
        Content::Nodes(nodes) => {
            write_list(out, nodes.len());
            for node in nodes {
                write_node(out, node);
            }
        }
        Content::Bytes(bytes) => write_binary(out, bytes),
        Content::Text(text) => write_text(out, text),
    }
}

/// A list holds at most 65,535 items; what we build stays far below.
fn write_list(out: &mut Vec<u8>, length: usize) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(0), _) => out.push(tag::LIST_EMPTY),
        (Ok(short), _) => out.extend([tag::LIST_8, short]),
        (_, Ok(long)) => {
            out.push(tag::LIST_16);
            out.extend(long.to_be_bytes());
        }
        _ => {
            debug_assert!(false, "a list of {length} items cannot be written");
            out.extend([tag::LIST_16, 0xff, 0xff]);
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        out.extend([tag::BINARY_8, 0]);
    } else if let Some(token) = token_of(text) {
        match token {
            Token::Single(code) => out.push(code),
            Token::Double(dictionary, index) => out.extend([tag::DICT_0 + dictionary, index]),
        }
    } else if text.len() <= PACKED_MAX && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'-' | b'.')) {
        write_packed(out, tag::NIBBLE_8, text, |c| match c {
            b'-' => 10,
            b'.' => 11,
            digit => digit - b'0',
        });
    } else if text.len() <= PACKED_MAX && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'A'..=b'F')) {
        write_packed(out, tag::HEX_8, text, |c| if c.is_ascii_digit() { c - b'0' } else { c - b'A' + 10 });
    } else {
        write_binary(out, text.as_bytes());
    }
}

fn write_packed(out: &mut Vec<u8>, tag: u8, text: &str, nibble: impl Fn(u8) -> u8) {
    let bytes = text.as_bytes();
    let odd = if bytes.len() % 2 == 1 { 0x80 } else { 0 };
    out.push(tag);
    out.push(u8::try_from(bytes.len().div_ceil(2)).unwrap_or(u8::MAX) | odd);
    for pair in bytes.chunks(2) {
        let low = pair.get(1).map_or(15, |c| nibble(*c));
        out.push(nibble(pair[0]) << 4 | low);
    }
}

fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let [a, b, c, d] = length.to_be_bytes();
    match length {
        0..=0xff => out.extend([tag::BINARY_8, d]),
        0x100..=0xf_ffff => out.extend([tag::BINARY_20, b, c, d]),
        _ => out.extend([tag::BINARY_32, a, b, c, d]),
    }
    out.extend_from_slice(bytes);
}

fn write_jid(out: &mut Vec<u8>, jid: &Jid) {
    match (jid.server(), jid.server().domain()) {
        (_, Some(domain)) if jid.device() > 0 && jid.device() <= 255 => {
            out.extend([tag::AD_JID, domain, u8::try_from(jid.device()).unwrap_or_default()]);
            write_text(out, jid.user());
        }
        (Server::Messenger, _) => {
            out.push(tag::FB_JID);
            write_text(out, jid.user());
            out.extend(jid.device().to_be_bytes());
            write_text(out, jid.server().as_str());
        }
        (Server::Interop, _) => {
            out.push(tag::INTEROP_JID);
            write_text(out, jid.user());
            out.extend(jid.device().to_be_bytes());
            out.extend(jid.integrator().to_be_bytes());
        }
        (server, _) => {
            out.push(tag::JID_PAIR);
            if jid.user().is_empty() {
                out.push(tag::LIST_EMPTY);
            } else {
                write_text(out, jid.user());
            }
            write_text(out, server.as_str());
        }
    }
}
