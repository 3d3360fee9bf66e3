//! Wharf's Signal layer beside `wacore-libsignal`, in one run, the same work on both sides.
//!
//! `cargo run --release --manifest-path tests/peers/Cargo.toml --bin bench`, on an idle machine; read the ratios.

#[path = "../../../../benches/harness.rs"]
mod harness;
#[path = "../../tests/peer/libsignal.rs"]
#[allow(dead_code)]
mod libsignal;
#[path = "../../../../benches/work.rs"]
mod work;

use harness::{compare, heading, repeated, timed};
use libsignal::conversation::{End, Offer};
use libsignal::{Member, Peer};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::hint::black_box;
use wharf::signal::{Buffer, JumpLimit, OurSenderKey, SenderKeyDistribution, SenderKeyMessage, TheirSenderKeys};
use work::{Device, talking, with_archived};

/// Two peers that have answered each other: each holds the other as "wharf".
fn peers_talking(seed: u64) -> (Peer, Peer) {
    let (mut alice, mut bob) = (Peer::new(seed), Peer::new(seed + 1));
    let offer = bob.offer();
    alice.take(&offer);
    let (hello, is_prekey) = alice.encrypt(b"hello");
    bob.decrypt(&hello, is_prekey);
    let (bytes, is_prekey) = bob.encrypt(b"answer");
    alice.decrypt(&bytes, is_prekey);
    (alice, bob)
}

fn main() {
    heading("wacore-libsignal 0.7.0");
    sessions_begin();
    for size in [64, 1024, 65_536] {
        encrypt(size);
    }
    for size in [64, 1024, 65_536] {
        decrypt(size);
    }
    turns();
    skipping();
    groups();
    for count in [10, 100, 1000] {
        fan_out(count);
    }
    for archived in [0, 40] {
        records(archived);
    }
}

fn sessions_begin() {
    let (mut ours, target) = (Device::new(1), Device::new(2));
    let (mut theirs, mut their_target) = (Peer::new(3), Peer::new(4));
    let offer = their_target.offer();
    compare(
        "X3DH initiator, signature checked",
        20,
        || repeated(20, || drop(black_box(ours.initiate(target.bundle())))),
        || repeated(20, || theirs.take(&offer)),
    );
    let (mut bob, mut their_bob) = (Device::new(5), Peer::new(6));
    compare(
        "X3DH responder, with the first decryption",
        20,
        || {
            let mut first = || {
                let mut session = ours.initiate(bob.bundle());
                ours.seal(&mut session, &[7; 64]).to_vec()
            };
            let sent: Vec<_> = (0..20).map(|_| first()).collect();
            timed(|| sent.iter().for_each(|bytes| drop(black_box(bob.accept(bytes)))))
        },
        || {
            let mut first = || {
                theirs.forget_sessions();
                theirs.take(&their_bob.offer());
                theirs.encrypt(&[7; 64]).0
            };
            let sent: Vec<_> = (0..20).map(|_| first()).collect();
            sent.iter()
                .map(|bytes| {
                    their_bob.forget_sessions();
                    timed(|| drop(black_box(their_bob.decrypt(bytes, true))))
                })
                .sum()
        },
    );
}

fn encrypt(size: usize) {
    let text = vec![7; size];
    let ((mut alice, mut at_alice), _) = talking(10);
    let (mut peer, _) = peers_talking(20);
    compare(
        &format!("encrypt {size} B"),
        50,
        || repeated(50, || drop(black_box(alice.seal(&mut at_alice, &text).to_vec()))),
        || repeated(50, || drop(black_box(peer.encrypt(&text)))),
    );
}

fn decrypt(size: usize) {
    let text = vec![7; size];
    let ((mut alice, mut at_alice), (mut bob, mut at_bob)) = talking(30);
    let (mut from, mut to) = peers_talking(40);
    compare(
        &format!("decrypt {size} B"),
        50,
        || {
            let sent: Vec<_> = (0..50).map(|_| alice.seal(&mut at_alice, &text).to_vec()).collect();
            timed(|| sent.into_iter().for_each(|bytes| drop(black_box(bob.open(&mut at_bob, bytes).to_vec()))))
        },
        || {
            let sent: Vec<_> = (0..50).map(|_| from.encrypt(&text).0).collect();
            timed(|| sent.into_iter().for_each(|bytes| drop(black_box(to.decrypt(&bytes, false)))))
        },
    );
}

fn turns() {
    let ((mut alice, mut at_alice), (mut bob, mut at_bob)) = talking(50);
    let (mut from, mut to) = peers_talking(60);
    compare(
        "ratchet turn: encrypt, and decrypt with a new key",
        20,
        || {
            repeated(10, || {
                alice.say(&mut at_alice, b"ping", &mut bob, &mut at_bob);
                bob.say(&mut at_bob, b"pong", &mut alice, &mut at_alice);
            })
        },
        || {
            repeated(10, || {
                let (bytes, is_prekey) = from.encrypt(b"ping");
                to.decrypt(&bytes, is_prekey);
                let (bytes, is_prekey) = to.encrypt(b"pong");
                from.decrypt(&bytes, is_prekey);
            })
        },
    );
}

fn skipping() {
    let ours = || {
        let ((mut alice, mut at_alice), bob) = talking(70);
        let sent: Vec<_> = (0..1001).map(|_| alice.seal(&mut at_alice, b"late").to_vec()).collect();
        (bob, sent)
    };
    let theirs = || {
        let (mut from, to) = peers_talking(80);
        let sent: Vec<_> = (0..1001).map(|_| from.encrypt(b"late").0).collect();
        (to, sent)
    };
    compare(
        "skip 1,000 keys",
        1,
        || {
            let ((mut bob, mut at_bob), mut sent) = ours();
            let last = sent.remove(1000);
            timed(|| drop(black_box(bob.open(&mut at_bob, last).to_vec())))
        },
        || {
            let (mut to, sent) = theirs();
            timed(|| drop(black_box(to.decrypt(&sent[1000], false))))
        },
    );
    compare(
        "each of 1,000 late messages",
        1000,
        || {
            let ((mut bob, mut at_bob), mut sent) = ours();
            bob.open(&mut at_bob, sent.remove(1000));
            timed(|| sent.into_iter().for_each(|bytes| drop(black_box(bob.open(&mut at_bob, bytes).to_vec()))))
        },
        || {
            let (mut to, sent) = theirs();
            to.decrypt(&sent[1000], false);
            timed(|| sent[..1000].iter().for_each(|bytes| drop(black_box(to.decrypt(bytes, false)))))
        },
    );
}

fn groups() {
    let (mut rng, mut buffer) = (StdRng::seed_from_u64(9), Buffer::new());
    let mut member = Member::new(90);
    compare(
        "group: create a sender key, and its distribution",
        20,
        || repeated(20, || drop(black_box(OurSenderKey::generate(&mut rng).distribution().encode()))),
        || repeated(20, || drop(black_box(member.offer()))),
    );
    let distributions: Vec<Vec<u8>> = (0..20)
        .map(|_| match member.offer() {
            Offer::Distribution(bytes) => bytes,
            Offer::Bundle(_) => Vec::new(),
        })
        .collect();
    compare(
        "group: process a distribution",
        20,
        || {
            let mut theirs = TheirSenderKeys::default();
            let process = |bytes| theirs.process(&SenderKeyDistribution::parse(bytes).unwrap());
            timed(|| distributions.iter().map(Vec::as_slice).for_each(process))
        },
        || {
            let mut reader = Member::new(91);
            timed(|| distributions.iter().for_each(|bytes| reader.process(bytes)))
        },
    );
    let (mut own, mut reader) = (OurSenderKey::generate(&mut rng), Member::new(92));
    let mut our_reader = TheirSenderKeys::default();
    our_reader.process(&own.distribution());
    reader.process(&member.distribution());
    let (mut sent_by_us, mut sent_by_them) = (Vec::new(), Vec::new());
    compare(
        "group encrypt 64 B",
        50,
        || repeated(50, || sent_by_us.push(own.encrypt(&[7; 64], &mut rng, &mut buffer).unwrap().to_vec())),
        || repeated(50, || sent_by_them.push(member.encrypt(&[7; 64]))),
    );
    let (mut ours, mut others) = (sent_by_us.into_iter(), sent_by_them.into_iter());
    compare(
        "group decrypt 64 B",
        50,
        || {
            repeated(50, || {
                let message = SenderKeyMessage::parse(ours.next().unwrap()).unwrap();
                let text = our_reader.decrypt(&message, JumpLimit::default(), &mut buffer).unwrap();
                drop(black_box(text.to_vec()));
            })
        },
        || repeated(50, || drop(black_box(reader.try_decrypt(&others.next().unwrap()).unwrap()))),
    );
}

fn fan_out(count: usize) {
    let ((mut alice, at_alice), _) = talking(100);
    let mut sessions = vec![at_alice; count];
    let (mut peer, _) = peers_talking(110);
    let addresses = peer.fan_out(count);
    compare(
        &format!("fan-out of 64 B to {count} devices"),
        1,
        || timed(|| sessions.iter_mut().for_each(|session| drop(black_box(alice.seal(session, &[7; 64]).to_vec())))),
        || timed(|| addresses.iter().for_each(|address| drop(black_box(peer.encrypt_to(address, &[7; 64]))))),
    );
}

fn records(archived: usize) {
    let (_, mut session) = with_archived(archived);
    let mut target = Peer::new(120);
    let mut peer = Peer::new(121);
    (0..=archived).for_each(|_| peer.take(&target.offer()));
    session.take_changes();
    compare(
        &format!("record: write after a message, {archived} archived states"),
        20,
        // The head is written whatever has happened.
        || repeated(20, || drop(black_box(session.take_changes()))),
        || repeated(20, || drop(black_box(peer.serialized_session()))),
    );
    let (parts, serialized) = (session.to_parts(), peer.serialized_session());
    compare(
        &format!("record: read, {archived} archived states"),
        20,
        || {
            repeated(20, || {
                let parts = parts.iter().map(|(part, bytes)| (*part, bytes));
                drop(black_box(wharf::signal::Session::from_parts(parts).unwrap()));
            })
        },
        || repeated(20, || Peer::deserialize_session(black_box(&serialized))),
    );
}
