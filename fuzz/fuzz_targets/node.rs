//! Frames of hostile bytes: they decode or fail; what decodes is encoded, and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf::wire::{Jid, Node, Server, Value, decode_frame, encode_frame};

/// The outbound form of interop JIDs leaves out their server: only the inbound one can be read back.
fn has_interop(node: &Node) -> bool {
    let interop = |value: &Value| matches!(value, Value::Jid(jid) if jid.server() == Server::Interop);
    node.attrs.iter().any(|(_, value)| interop(value)) || node.nodes().iter().any(has_interop)
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(node) = decode_frame(bytes)
        && !has_interop(&node)
        && let Ok(again) = decode_frame(&encode_frame(&node))
    {
        assert_eq!(encode_frame(&again), encode_frame(&node));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(jid) = Jid::parse(text)
    {
        assert_eq!(Jid::parse(&jid.to_string()), Ok(jid));
    }
});
