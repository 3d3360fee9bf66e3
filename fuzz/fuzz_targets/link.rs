//! Both ends of a connection get hostile bytes instead of a handshake, in two pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use wharf::signal::KeyPair;
use wharf::wire::payload::NoiseKeys;
use wharf::wire::transport::{ClientTransport, ServerTransport};

fuzz_target!(|bytes: &[u8]| {
    let mut rng = StdRng::seed_from_u64(1);
    let mut pair = || KeyPair::generate(&mut rng);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut server = ServerTransport::accept(pair(), vec![1; 200], pair());
    let _ = server.receive(first).and_then(|_| server.receive(second));
    let keys = NoiseKeys { ours: pair(), root: *pair().public() };
    let mut client = ClientTransport::connect(keys, vec![1; 100], pair(), None).unwrap();
    let _ = client.receive(first).and_then(|_| client.receive(second));
});
