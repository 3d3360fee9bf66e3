//! Sessions in a chosen state get hostile messages: what fails leaves no trace, and the honest message that follows is read.
#![no_main]

#[path = "../../tests/shared/conversation.rs"]
#[allow(dead_code)]
mod conversation;

use conversation::{End, OurDevice, OurMember, Sent};
use libfuzzer_sys::fuzz_target;
use wharf::wire::Jid;

fuzz_target!(|bytes: &[u8]| {
    let Some((state, bytes)) = bytes.split_first() else { return };
    let [mut alice, mut bob] = [1, 2].map(|seed| OurDevice::new(seed, Jid::pn("15550001111").protocol_address()));
    let [mut author, mut reader] = [3, 4].map(OurMember::new);
    // Before the first message, after it, answered, with skipped keys, with an archived state.
    let offer = bob.offer();
    alice.take(&offer);
    let offer = author.offer();
    reader.take(&offer);
    if state % 5 > 0 {
        let hello = alice.write(b"hello").unwrap();
        bob.read(&hello).unwrap();
    }
    if state % 5 > 1 {
        let answer = bob.write(b"answer").unwrap();
        alice.read(&answer).unwrap();
    }
    if state % 5 > 2 {
        alice.write(b"lost");
        author.write(b"lost");
        let (jump, group_jump) = (alice.write(b"jump").unwrap(), author.write(b"jump").unwrap());
        bob.read(&jump).unwrap();
        reader.read(&group_jump).unwrap();
    }
    if state % 5 > 3 {
        let offer = bob.offer();
        alice.take(&offer);
    }
    let (before, group_before) = (bob.trace(), reader.trace());
    for is_prekey in [false, true] {
        assert!(bob.read(&Sent { bytes: bytes.to_vec(), is_prekey }).is_err());
    }
    assert!(reader.read(&Sent { bytes: bytes.to_vec(), is_prekey: false }).is_err());
    assert_eq!((bob.trace(), reader.trace()), (before, group_before));
    let (honest, to_group) = (alice.write(b"honest").unwrap(), author.write(b"honest").unwrap());
    assert_eq!(bob.read(&honest), Ok(b"honest".to_vec()));
    assert_eq!(reader.read(&to_group), Ok(b"honest".to_vec()));
});
