//! Hostile stanzas of linked devices: the sandbox's world takes each, keeps what it says it keeps, and is made of that again.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/shared/probe.rs"]
mod probe;

use libfuzzer_sys::fuzz_target;
use probe::Probes;
use wharf::wire::decode_frame;

/// Each stanza is one byte for the device, two for the length, and a frame.
fuzz_target!(|bytes: &[u8]| {
    let mut net = Probes::new();
    let devices = ["15550000001", "15550000001", "15550000002"].map(|number| net.linked(number));
    net.world.create_group("fuzz", "15550000001", &["15550000002".into()]).unwrap();
    let mut rest = bytes;
    while let [device, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (frame, behind) = tail.split_at(length);
        rest = behind;
        let device = devices[usize::from(*device) % devices.len()];
        if let Ok(node) = decode_frame(frame)
            && net.is_connected(device)
        {
            net.send(device, node);
            net.settle();
        }
    }
    net.restart();
});
