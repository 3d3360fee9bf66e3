//! Random conversations between two ends of the Signal layer, and the allocations of one message.

#[path = "../shared/conversation.rs"]
mod conversation;

use conversation::{Action, End, OurDevice, OurMember, converse};
use proptest::prelude::*;
use wharf::wire::Jid;

fn actions() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(any::<[u8; 4]>().prop_map(Action::from_bytes), 1..150)
}

fn devices() -> [OurDevice; 2] {
    [1, 2].map(|seed| OurDevice::new(seed, Jid::pn("15550001111").protocol_address()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_direct_conversation_survives_any_sequence_of_actions(actions in actions()) {
        let [mut alice, mut bob] = devices();
        converse(&mut [&mut alice, &mut bob], &actions);
    }

    #[test]
    fn a_group_conversation_survives_any_sequence_of_actions(actions in actions()) {
        let [mut alice, mut bob] = [3, 4].map(OurMember::new);
        let offer = alice.offer();
        bob.take(&offer);
        converse(&mut [&mut alice, &mut bob], &actions);
    }

    /// In an unbroken session a message decrypts at its first arrival and is a duplicate at the next, as long as its receiver
    /// chain is kept.
    #[test]
    fn every_arriving_message_is_decrypted_once(order in prop::collection::vec(any::<(bool, u8, bool)>(), 1..120)) {
        let [mut alice, mut bob] = devices();
        let offer = bob.offer();
        alice.take(&offer);
        let hello = alice.write(b"hello").unwrap();
        prop_assert_eq!(bob.read(&hello), Ok(b"hello".to_vec()));
        let ends: [&mut dyn End; 2] = [&mut alice, &mut bob];
        let mut on_way = [Vec::new(), Vec::new()];
        let mut turns = [1usize, 1];
        for (number, (side, pick, send)) in order.into_iter().enumerate() {
            let (to, from) = (usize::from(side), usize::from(!side));
            if send || on_way[to].is_empty() {
                let text = number.to_be_bytes();
                on_way[to].push((text, ends[from].write(&text).unwrap(), turns[from]));
                continue;
            }
            let at = usize::from(pick) % on_way[to].len();
            let (text, sent, at_turn) = on_way[to].swap_remove(at);
            if turns[from] - at_turn < wharf::signal::limits::MAX_RECEIVER_CHAINS - 1 {
                prop_assert_eq!(ends[to].read(&sent), Ok(text.to_vec()));
                prop_assert_eq!(ends[to].read(&sent), Err(conversation::Refusal::Duplicate));
                turns[to] += 1;
            }
        }
    }
}

/// Allocations of one message, with the caller's buffer warm.
#[test]
fn encrypting_allocates_nothing_and_decrypting_only_the_plaintext() {
    use allocation_counter::measure;
    let [mut alice, mut bob] = devices();
    let offer = bob.offer();
    alice.take(&offer);
    for _ in 0..2 {
        let sent = alice.write(b"hello").unwrap();
        bob.read(&sent).unwrap();
        let sent = bob.write(b"answer").unwrap();
        alice.read(&sent).unwrap();
    }
    alice.write(b"the turn that is due").unwrap();
    // `End::write` and `End::read` each copy their result: that copy is the one allocation of the first, and one of two.
    let encrypted = measure(|| drop(alice.write(&[7; 64])));
    let sent = alice.write(&[7; 64]).unwrap();
    bob.read(&sent).unwrap();
    let next = alice.write(&[7; 64]).unwrap();
    let decrypted = measure(|| drop(bob.read(&next)));
    assert_eq!((encrypted.count_total, decrypted.count_total), (1, 2));
}
