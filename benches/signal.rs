//! The Signal layer beside the bare primitives that it cannot do without: `cargo bench --bench signal`, on an idle machine.
//!
//! X25519 is counted as the plain ladder, so an operation on the Edwards curve can cost less than its "primitives".

mod harness;
mod work;

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use harness::{compare, heading, repeated, timed};
use hmac::{Hmac, KeyInit, Mac};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::Sha256;
use std::hint::black_box;
use wharf::signal::xeddsa::{sign, verify};
use wharf::signal::{Buffer, JumpLimit, KeyPair, OurSenderKey, SenderKeyMessage, Session, TheirSenderKeys};
use work::{Device, forged, talking, with_archived};
use x25519_dalek::{PublicKey, StaticSecret};

fn main() {
    heading("bare primitives");
    sessions_begin();
    for size in [64, 1024, 65_536] {
        messages(size);
    }
    turns();
    skipping();
    for counter in [24, 1999, 24_999] {
        forgeries(counter);
    }
    groups();
    for count in [10, 100, 1000] {
        fan_out(count);
    }
    for archived in [0, 40] {
        records(archived);
    }
}

/// The primitives, each as plainly as its crate offers it.
struct Bare {
    secret: StaticSecret,
    public: PublicKey,
    pair: KeyPair,
    signature: [u8; 64],
}

impl Bare {
    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let secret = StaticSecret::from([7; 32]);
        let pair = KeyPair::generate(&mut rng);
        let signature = sign(pair.secret(), &[7; 33], &mut rng);
        Self { public: PublicKey::from(&secret), secret, pair, signature }
    }

    fn agreements(&self, count: usize) {
        (0..count).for_each(|_| drop(black_box(self.secret.diffie_hellman(&self.public))));
    }

    fn key_pairs(&self, count: usize) {
        (0..count).for_each(|_| drop(black_box(PublicKey::from(&self.secret).to_bytes().to_vec())));
    }

    fn verification(&self) {
        black_box(verify(self.pair.public(), &[7; 33], &self.signature));
    }
}

fn hmac(key: &[u8; 64], text: &[u8]) {
    black_box(Hmac::<Sha256>::new(key.into()).chain_update(text).finalize());
}

fn sessions_begin() {
    let (mut ours, mut target, bare) = (Device::new(1), Device::new(2), Bare::new());
    compare(
        "X3DH initiator: 5 agreements, 2 key pairs, 1 verification",
        20,
        || repeated(20, || drop(black_box(ours.initiate(target.bundle())))),
        || {
            repeated(20, || {
                bare.agreements(5);
                bare.key_pairs(2);
                bare.verification();
            })
        },
    );
    compare(
        "X3DH responder with the first decryption: 5 agreements",
        20,
        || {
            let mut session = ours.initiate(target.bundle());
            let hello = ours.seal(&mut session, &[7; 64]).to_vec();
            repeated(20, || drop(black_box(target.accept(&hello))))
        },
        || repeated(20, || bare.agreements(5)),
    );
}

fn messages(size: usize) {
    let text = vec![7; size];
    let ((mut alice, mut at_alice), (mut bob, mut at_bob)) = talking(10);
    let (key, iv) = ([1; 32], [2; 16]);
    let sealed = cbc::Encryptor::<Aes256>::new(&key.into(), &iv.into()).encrypt_padded_vec::<Pkcs7>(&text);
    compare(
        &format!("encrypt {size} B: AES-CBC, HMAC"),
        50,
        || repeated(50, || consume(alice.seal(&mut at_alice, &text))),
        || {
            repeated(50, || {
                let cipher = cbc::Encryptor::<Aes256>::new(&key.into(), &iv.into());
                hmac(&[3; 64], &cipher.encrypt_padded_vec::<Pkcs7>(black_box(&text)));
            })
        },
    );
    compare(
        &format!("decrypt {size} B: HMAC, AES-CBC"),
        50,
        || {
            let sent: Vec<_> = (0..50).map(|_| alice.seal(&mut at_alice, &text).to_vec()).collect();
            timed(|| sent.into_iter().for_each(|bytes| consume(bob.open(&mut at_bob, bytes))))
        },
        || {
            repeated(50, || {
                hmac(&[3; 64], &sealed);
                let cipher = cbc::Decryptor::<Aes256>::new(&key.into(), &iv.into());
                drop(black_box(cipher.decrypt_padded_vec::<Pkcs7>(black_box(&sealed))));
            })
        },
    );
}

fn turns() {
    let ((mut alice, mut at_alice), (mut bob, mut at_bob)) = talking(20);
    let bare = Bare::new();
    compare(
        "ratchet turn: 2 agreements, 1 key pair",
        20,
        || {
            repeated(10, || {
                alice.say(&mut at_alice, b"ping", &mut bob, &mut at_bob);
                bob.say(&mut at_bob, b"pong", &mut alice, &mut at_alice);
            })
        },
        || {
            repeated(20, || {
                bare.agreements(2);
                bare.key_pairs(1);
            })
        },
    );
}

fn skipping() {
    compare(
        "skip 1,000 keys: 2,000 HMACs",
        1,
        || {
            let ((mut alice, mut at_alice), (mut bob, mut at_bob)) = talking(30);
            (0..1000).for_each(|_| consume(alice.seal(&mut at_alice, b"late")));
            let last = alice.seal(&mut at_alice, b"last").to_vec();
            timed(|| consume(bob.open(&mut at_bob, last)))
        },
        || repeated(2000, || hmac(&[3; 64], &[1])),
    );
}

fn forgeries(counter: u32) {
    let (mut alice, mut session) = with_archived(40);
    let (message, bare) = (forged(counter), Bare::new());
    compare(
        &format!("forged message, counter {counter}, 41 states: an agreement for each"),
        5,
        || repeated(5, || alice.refuse(&mut session, &message)),
        || repeated(5, || bare.agreements(41)),
    );
}

fn groups() {
    let (mut rng, mut buffer, bare) = (StdRng::seed_from_u64(9), Buffer::new(), Bare::new());
    let mut own = OurSenderKey::generate(&mut rng);
    let mut theirs = TheirSenderKeys::default();
    theirs.process(&own.distribution());
    let mut sent = Vec::new();
    let mut rng2 = StdRng::seed_from_u64(10);
    compare(
        "group encrypt 64 B: 1 signature, its key expanded each time",
        50,
        || repeated(50, || sent.push(own.encrypt(&[7; 64], &mut rng, &mut buffer).unwrap().to_vec())),
        || repeated(50, || drop(black_box(sign(bare.pair.secret(), &[7; 64], &mut rng2).to_vec()))),
    );
    let mut sent = sent.into_iter();
    compare(
        "group decrypt 64 B: 1 verification, its key expanded each time",
        50,
        || {
            repeated(50, || {
                let message = SenderKeyMessage::parse(sent.next().unwrap()).unwrap();
                consume(theirs.decrypt(&message, JumpLimit::default(), &mut buffer).unwrap());
            })
        },
        || repeated(50, || bare.verification()),
    );
}

fn fan_out(count: usize) {
    let ((mut alice, at_alice), _) = talking(40);
    let mut sessions = vec![at_alice; count];
    let (key, iv, text) = ([1; 32], [2; 16], [7; 64]);
    compare(
        &format!("fan-out of 64 B to {count} devices: AES-CBC, HMAC for each"),
        1,
        || timed(|| sessions.iter_mut().for_each(|session| consume(alice.seal(session, &text)))),
        || {
            repeated(count, || {
                let cipher = cbc::Encryptor::<Aes256>::new(&key.into(), &iv.into());
                hmac(&[3; 64], &cipher.encrypt_padded_vec::<Pkcs7>(black_box(&text)));
            })
        },
    );
}

fn records(archived: usize) {
    let (_, mut session) = with_archived(archived);
    session.take_changes();
    let parts = session.to_parts();
    let whole: Vec<u8> = parts.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
    compare(
        &format!("record: write after a message, {archived} archived states: a copy of the head"),
        20,
        || repeated(20, || drop(black_box(session.take_changes()))),
        || repeated(20, || drop(black_box(parts[0].1.to_vec()))),
    );
    compare(
        &format!("record: read, {archived} archived states: a copy of all parts"),
        20,
        || {
            repeated(20, || {
                let parts = parts.iter().map(|(part, bytes)| (*part, bytes));
                drop(black_box(Session::from_parts(parts).unwrap()));
            })
        },
        || repeated(20, || drop(black_box(whole.to_vec()))),
    );
}

/// Keeps the compiler from removing the work behind a value.
fn consume(result: &[u8]) {
    black_box(result);
}
