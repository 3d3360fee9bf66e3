//! One conversation with each Signal library in each role, with turns of the ratchet and messages out of order.

use crate::libsignal::Peer;
use crate::libsignal::conversation::{End, Offer, OurDevice};
use crate::npm_libsignal::NodePeer;
use wharf::wire::Jid;

fn ours() -> OurDevice {
    OurDevice::new(1, Jid::pn("15550001111").protocol_address())
}

/// The initiator writes twice before it is answered; then ten rounds of three messages, two of them swapped and one of them
/// repeated, and an answer.
fn meet(initiator: &mut dyn End, responder: &mut dyn End, with_one_time: bool) {
    let mut offer = responder.offer();
    if let (Offer::Bundle(bundle), false) = (&mut offer, with_one_time) {
        bundle.one_time = None;
    }
    initiator.take(&offer);
    for text in [b"first", b"again"] {
        let sent = initiator.write(text).unwrap();
        assert!(sent.is_prekey);
        assert_eq!(responder.read(&sent), Ok(text.to_vec()));
    }
    let answer = responder.write(b"answer").unwrap();
    assert!(!answer.is_prekey);
    assert_eq!(initiator.read(&answer), Ok(b"answer".to_vec()));
    for round in 0..10u8 {
        let sent: Vec<_> = (0..3u8).map(|n| initiator.write(&[round, n]).unwrap()).collect();
        for n in [2, 0, 1u8] {
            assert!(!sent[usize::from(n)].is_prekey, "the session is confirmed");
            assert_eq!(responder.read(&sent[usize::from(n)]), Ok(vec![round, n]));
        }
        assert!(responder.read(&sent[0]).is_err(), "a second copy");
        let answer = responder.write(&[round]).unwrap();
        assert_eq!(initiator.read(&answer), Ok(vec![round]));
    }
}

#[test]
fn wharf_and_wacore_libsignal_talk_in_both_roles() {
    for with_one_time in [true, false] {
        meet(&mut ours(), &mut Peer::new(2), with_one_time);
        meet(&mut Peer::new(3), &mut ours(), with_one_time);
    }
}

#[test]
fn wharf_and_npm_libsignal_talk_in_both_roles() {
    for with_one_time in [true, false] {
        meet(&mut ours(), &mut NodePeer::start(), with_one_time);
        meet(&mut NodePeer::start(), &mut ours(), with_one_time);
    }
}
