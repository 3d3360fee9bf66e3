//! Every four bytes are an action of a conversation, one-to-one or in a group: what holds for all of them holds for these.
#![no_main]

#[path = "../../tests/shared/conversation.rs"]
#[allow(dead_code)]
mod conversation;

use conversation::{Action, OurDevice, OurMember, converse};
use libfuzzer_sys::fuzz_target;
use wharf::wire::Jid;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, actions)) = bytes.split_first() else { return };
    let (actions, _) = actions.as_chunks::<4>();
    let actions: Vec<_> = actions.iter().take(200).copied().map(Action::from_bytes).collect();
    if kind & 1 == 0 {
        let [mut alice, mut bob] = [1, 2].map(|seed| OurDevice::new(seed, Jid::pn("15550001111").protocol_address()));
        converse(&mut [&mut alice, &mut bob], &actions);
    } else {
        let [mut alice, mut bob] = [3, 4].map(OurMember::new);
        converse(&mut [&mut alice, &mut bob], &actions);
    }
});
