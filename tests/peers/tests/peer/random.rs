//! Random conversations with `wacore-libsignal`: the same actions are played by ours with ours, ours with the peer and the peer
//! with itself, and every text, every kind of refusal and every kind of message must be the same in all of them.
//!
//! Seeded; `WHARF_SEEDS=5000` runs more of them.

use crate::libsignal::conversation::{Action, End, OurDevice, OurMember, Outcome, Refusal, converse};
use crate::libsignal::{Member, Peer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use wharf::wire::Jid;

fn seeds() -> u64 {
    std::env::var("WHARF_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(150)
}

fn actions(seed: u64) -> Vec<Action> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..rng.random_range(20..200)).map(|_| Action::from_bytes(rng.random())).collect()
}

/// The outcome as far as the pairings must agree on it.
fn comparable(action: Action, outcome: &Outcome) -> Outcome {
    match (action, outcome) {
        // Where there are several states, the peer says only that none fits.
        (_, Outcome::Read(Err(Refusal::TooFar))) => Outcome::Read(Err(Refusal::Invalid)),
        // The effect of a flipped bit depends on the random bits around it: the refusal must be the same, not the reason.
        (Action::Corrupt { .. }, Outcome::Read(Err(_))) => Outcome::Read(Err(Refusal::Invalid)),
        (_, outcome) => outcome.clone(),
    }
}

/// Plays the actions in all four pairings.
fn agree(seed: u64, mut pair: impl FnMut(bool, u64) -> Box<dyn End>) {
    let actions = actions(seed);
    let outcomes: Vec<_> = [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(|(first, second)| {
            let (mut ends, played) = ((pair(first, 2 * seed), pair(second, 2 * seed + 1)), &actions);
            let play = move || converse(&mut [&mut *ends.0, &mut *ends.1], played);
            let told = |panic| -> Vec<Outcome> {
                eprintln!("seed {seed}, peer at each end: {first}, {second}");
                resume_unwind(panic)
            };
            catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(told)
        })
        .collect();
    for (pairing, outcome) in outcomes.iter().enumerate().skip(1) {
        for (step, (ours, theirs)) in outcomes[0].iter().zip(outcome).enumerate() {
            let action = actions[step];
            let (ours, theirs) = (comparable(action, ours), comparable(action, theirs));
            assert_eq!(ours, theirs, "seed {seed}, pairing {pairing}, step {step}: {action:?}");
        }
    }
}

#[test]
fn direct_conversations_agree_on_every_text_and_every_refusal() {
    for seed in 0..seeds() {
        agree(seed, |peer, seed| match peer {
            true => Box::new(Peer::new(seed)),
            false => Box::new(OurDevice::new(seed, Jid::pn("15550001111").protocol_address())),
        });
    }
}

#[test]
fn group_conversations_agree_on_every_text_and_every_refusal() {
    for seed in 0..seeds() {
        agree(seed, |peer, seed| match peer {
            true => Box::new(Member::new(seed)),
            false => Box::new(OurMember::new(seed)),
        });
    }
}

/// The limit itself, which random conversations keep clear of: the peer counts a chain on when its session was archived.
#[test]
fn all_read_two_thousand_ahead_and_no_further() {
    let mut pair: [Box<dyn Fn(bool, u64) -> Box<dyn End>>; 2] = [
        Box::new(|peer, seed| match peer {
            true => Box::new(Peer::new(seed)),
            false => Box::new(OurDevice::new(seed, Jid::pn("15550001111").protocol_address())),
        }),
        Box::new(|peer, seed| match peer {
            true => Box::new(Member::new(seed)),
            false => Box::new(OurMember::new(seed)),
        }),
    ];
    for end in &mut pair {
        for (from, to) in [(false, true), (true, false), (true, true), (false, false)] {
            let reader_is_peer = to;
            let (mut from, mut to) = (end(from, 1), end(to, 2));
            let (giver, taker) = if from.in_group() { (&mut from, &mut to) } else { (&mut to, &mut from) };
            let offer = giver.offer();
            taker.take(&offer);
            let first = from.write(b"first").unwrap();
            assert_eq!(to.read(&first), Ok(b"first".to_vec()));
            if !from.in_group() {
                let answer = to.write(b"answer").unwrap();
                assert_eq!(from.read(&answer), Ok(b"answer".to_vec()));
            }
            let mut write = |lost: usize| {
                (0..lost).for_each(|_| drop(from.write(b"lost")));
                from.write(b"far").unwrap()
            };
            let (at_limit, beyond) = (write(2000), write(2001));
            assert_eq!(to.read(&at_limit), Ok(b"far".to_vec()));
            // The peer does not always say why.
            let refusal = to.read(&beyond).unwrap_err();
            assert!(refusal == Refusal::TooFar || reader_is_peer && refusal == Refusal::Invalid, "{refusal:?}");
        }
    }
}
