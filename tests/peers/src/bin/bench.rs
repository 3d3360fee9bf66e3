//! Wharf's Signal layer beside `wacore-libsignal`, in one run, alternating, the same work on both sides.
//!
//! `cargo run --release --manifest-path tests/peers/Cargo.toml --bin bench`. Microseconds are medians of rounds of wall time on
//! one thread; run it on an idle machine, and read the ratios.

#[path = "../../tests/peer/libsignal.rs"]
#[allow(dead_code)]
mod libsignal;

use libsignal::{Member, PRE_KEY_ID, Peer, SIGNED_PRE_KEY_ID};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::hint::black_box;
use std::time::Instant;
use wharf::signal::{
    Ciphertext, IdentityKeyPair, JumpLimit, LocalParty, OurSenderKey, PreKeyBundle, PreKeyId, PreKeyPair,
    PreKeySignalMessage, SenderKeyDistribution, SenderKeyMessage, Session, SignalMessage, SignedPreKeyId,
    SignedPreKeyPair, TheirSenderKeys,
};

const ROUNDS: usize = 41;

/// Prints the medians of both, each measured right after the other.
fn compare(what: &str, runs: usize, mut ours: impl FnMut() -> f64, mut theirs: impl FnMut() -> f64) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            a.push(ours());
            b.push(theirs());
        } else {
            b.push(theirs());
            a.push(ours());
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] * 1e6 / runs as f64
    };
    let (a, b) = (median(&mut a), median(&mut b));
    println!("| {what} | {a:.2} | {b:.2} | {:.2} |", a / b);
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn local(rng: &mut StdRng) -> LocalParty {
    LocalParty { identity: IdentityKeyPair::generate(rng), registration_id: 5 }
}

/// Bytes of a message of ours.
fn sealed(session: &mut Session, text: &[u8]) -> (Vec<u8>, bool) {
    match session.encrypt(text).unwrap() {
        Ciphertext::Signal(bytes) => (bytes, false),
        Ciphertext::PreKey(bytes) => (bytes, true),
    }
}

/// Two sessions of our own that have answered each other.
fn our_pair(rng: &mut StdRng) -> (Session, Session) {
    let (alice, bob) = (local(rng), local(rng));
    let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &bob.identity, rng);
    let one_time = PreKeyPair::generate(PreKeyId::FIRST, rng);
    let bundle = PreKeyBundle {
        registration_id: 5,
        identity: bob.identity.public(),
        signed_pre_key_id: signed.id,
        signed_pre_key: *signed.pair.public(),
        signature: signed.signature.to_vec(),
        one_time: Some((one_time.id, *one_time.pair.public())),
    };
    let (mut at_alice, mut at_bob) = (Session::default(), Session::default());
    at_alice.initiate(&alice, &bundle.verify().unwrap(), rng).unwrap();
    let (hello, _) = sealed(&mut at_alice, b"hello");
    let hello = PreKeySignalMessage::parse(&hello).unwrap();
    at_bob.accept(&bob, &signed, Some(&one_time), &hello, JumpLimit::default(), rng).unwrap();
    answer(&mut at_bob, &mut at_alice, rng);
    (at_alice, at_bob)
}

fn answer(from: &mut Session, to: &mut Session, rng: &mut StdRng) {
    let (bytes, _) = sealed(from, b"answer");
    to.decrypt(&SignalMessage::parse(&bytes).unwrap(), JumpLimit::default(), rng).unwrap();
}

/// Two peers that have answered each other: each holds the other as "wharf".
fn peer_pair(seed: u64) -> (Peer, Peer) {
    let (mut alice, mut bob) = (Peer::new(seed), Peer::new(seed + 1));
    let bundle = (bob.identity_key(), bob.signed_pair.public_key.serialize(), bob.signature.clone());
    let one_time = bob.one_time.public_key.serialize();
    alice.initiate(77, &bundle.0, (SIGNED_PRE_KEY_ID, &bundle.1, &bundle.2), Some((PRE_KEY_ID, &one_time)));
    let (hello, is_prekey) = alice.encrypt(b"hello");
    bob.decrypt(&hello, is_prekey);
    let (bytes, is_prekey) = bob.encrypt(b"answer");
    alice.decrypt(&bytes, is_prekey);
    (alice, bob)
}

fn main() {
    let mut rng = StdRng::seed_from_u64(1);
    println!("| operation | Wharf, µs | wacore-libsignal 0.7.0, µs | ratio |\n|---|---:|---:|---:|");

    let target = Peer::new(10);
    let us = local(&mut rng);
    let mut their_initiator = Peer::new(11);
    let (identity, signed) = (target.identity_key(), target.signed_pair.public_key.serialize());
    let one_time = target.one_time.public_key.serialize();
    let mut rng2 = StdRng::seed_from_u64(2);
    compare(
        "X3DH initiator, signature checked",
        20,
        || {
            timed(|| {
                for _ in 0..20 {
                    let mut session = Session::default();
                    session.initiate(&us, &target.bundle().verify().unwrap(), &mut rng2).unwrap();
                    black_box(&session);
                }
            })
        },
        || {
            timed(|| {
                for _ in 0..20 {
                    let signed = (SIGNED_PRE_KEY_ID, &signed[..], &target.signature[..]);
                    their_initiator.initiate(77, &identity, signed, Some((PRE_KEY_ID, &one_time[..])));
                }
            })
        },
    );

    for size in [64, 1024, 65_536] {
        let text = vec![7; size];
        let (mut alice, _) = our_pair(&mut rng);
        let (mut peer, _) = peer_pair(20);
        let work = || (0..50).for_each(|_| drop(black_box(sealed(&mut alice, &text))));
        let mut work = work;
        let mut theirs = || (0..50).for_each(|_| drop(black_box(peer.encrypt(&text))));
        compare(&format!("encrypt {size} B"), 50, || timed(&mut work), || timed(&mut theirs));
    }
    for size in [64, 1024, 65_536] {
        let text = vec![7; size];
        let (mut alice, mut bob) = our_pair(&mut rng);
        let (mut from, mut to) = peer_pair(30);
        let mut rng3 = StdRng::seed_from_u64(3);
        compare(
            &format!("decrypt {size} B"),
            50,
            || {
                let sent: Vec<_> = (0..50).map(|_| sealed(&mut alice, &text).0).collect();
                timed(|| {
                    for bytes in &sent {
                        let message = SignalMessage::parse(bytes).unwrap();
                        black_box(bob.decrypt(&message, JumpLimit::default(), &mut rng3).unwrap());
                    }
                })
            },
            || {
                let sent: Vec<_> = (0..50).map(|_| from.encrypt(&text).0).collect();
                timed(|| sent.iter().for_each(|bytes| drop(black_box(to.decrypt(bytes, false)))))
            },
        );
    }

    let (mut alice, mut bob) = our_pair(&mut rng);
    let (mut from, mut to) = peer_pair(40);
    let mut rng4 = StdRng::seed_from_u64(4);
    compare(
        "ratchet turn: encrypt, and decrypt with a new key",
        20,
        || {
            timed(|| {
                for _ in 0..10 {
                    answer(&mut alice, &mut bob, &mut rng4);
                    answer(&mut bob, &mut alice, &mut rng4);
                }
            })
        },
        || {
            timed(|| {
                for _ in 0..10 {
                    let (bytes, is_prekey) = from.encrypt(b"answer");
                    to.decrypt(&bytes, is_prekey);
                    let (bytes, is_prekey) = to.encrypt(b"answer");
                    from.decrypt(&bytes, is_prekey);
                }
            })
        },
    );

    let skip = |rng: &mut StdRng| {
        let (mut alice, bob) = our_pair(rng);
        let sent: Vec<_> = (0..1001).map(|_| sealed(&mut alice, b"late").0).collect();
        (bob, sent)
    };
    let mut rng5 = StdRng::seed_from_u64(5);
    compare(
        "skip 1,000 keys",
        1,
        || {
            let (mut bob, sent) = skip(&mut rng5);
            let message = SignalMessage::parse(&sent[1000]).unwrap();
            let mut rng = StdRng::seed_from_u64(6);
            timed(|| drop(black_box(bob.decrypt(&message, JumpLimit::default(), &mut rng).unwrap())))
        },
        || {
            let (mut from, mut to) = peer_pair(50);
            let sent: Vec<_> = (0..1001).map(|_| from.encrypt(b"late").0).collect();
            timed(|| drop(black_box(to.decrypt(&sent[1000], false))))
        },
    );
    let mut rng7 = StdRng::seed_from_u64(7);
    compare(
        "each of 1,000 late messages",
        1000,
        || {
            let (mut bob, sent) = skip(&mut rng7);
            let mut rng = StdRng::seed_from_u64(8);
            let mut open = |bytes: &Vec<u8>| {
                let message = SignalMessage::parse(bytes).unwrap();
                drop(black_box(bob.decrypt(&message, JumpLimit::default(), &mut rng).unwrap()));
            };
            open(&sent[1000]);
            timed(|| sent[..1000].iter().for_each(open))
        },
        || {
            let (mut from, mut to) = peer_pair(60);
            let sent: Vec<_> = (0..1001).map(|_| from.encrypt(b"late").0).collect();
            to.decrypt(&sent[1000], false);
            timed(|| sent[..1000].iter().for_each(|bytes| drop(black_box(to.decrypt(bytes, false)))))
        },
    );

    let (mut own, mut member) = (OurSenderKey::generate(&mut rng), Member::new(70));
    let mut theirs = TheirSenderKeys::default();
    theirs.process(&SenderKeyDistribution::parse(&member.distribution()).unwrap());
    member.process(&own.distribution().encode());
    let mut rng9 = StdRng::seed_from_u64(9);
    let mut reader = Member::new(71);
    let mut our_reader = TheirSenderKeys::default();
    reader.process(&member.distribution());
    our_reader.process(&own.distribution());
    let (mut sent_by_us, mut sent_by_them) = (Vec::new(), Vec::new());
    compare(
        "group encrypt 64 B",
        50,
        || timed(|| (0..50).for_each(|_| sent_by_us.push(own.encrypt(&[7; 64], &mut rng9).unwrap()))),
        || timed(|| (0..50).for_each(|_| sent_by_them.push(member.encrypt(&[7; 64])))),
    );
    let (mut ours, mut others) = (sent_by_us.into_iter(), sent_by_them.into_iter());
    compare(
        "group decrypt 64 B",
        50,
        || {
            timed(|| {
                for bytes in ours.by_ref().take(50) {
                    let message = SenderKeyMessage::parse(&bytes).unwrap();
                    drop(black_box(our_reader.decrypt(&message, JumpLimit::default()).unwrap()));
                }
            })
        },
        || timed(|| others.by_ref().take(50).for_each(|bytes| drop(black_box(reader.try_decrypt(&bytes).unwrap())))),
    );
}
