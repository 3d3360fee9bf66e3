//! Frames of hostile bytes: they decode or fail; what decodes is encoded, and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf::wire::{Jid, decode_frame, encode_frame};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(node) = decode_frame(bytes)
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
