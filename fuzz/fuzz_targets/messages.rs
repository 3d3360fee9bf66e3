//! Every decoder of messages and identities: hostile bytes fail, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf::base::secret::Secret;
use wharf::signal::{
    IdentityKey, PreKeySignalMessage, PublicKey, SenderKeyDistribution, SenderKeyMessage, SignalMessage,
};
use wharf::wire::{adv, message, payload, qr::QrCode, verify_chain};

fuzz_target!(|bytes: &[u8]| {
    let _ = SignalMessage::parse(bytes);
    let _ = PreKeySignalMessage::parse(bytes);
    let _ = SenderKeyMessage::parse(bytes);
    let _ = SenderKeyDistribution::parse(bytes);
    let key = PublicKey::from_bytes([9; 32]);
    let _ = adv::verify_pairing(bytes, &Secret::new([1; 32]), &IdentityKey(key));
    let _ = adv::verify_companion(bytes, &IdentityKey(key), None);
    let _ = adv::read_key_indexes(bytes);
    let _ = verify_chain(&key, bytes, &key);
    let _ = message::decode(bytes);
    let _ = payload::read(bytes);
    let _ = QrCode::parse(&String::from_utf8_lossy(bytes));
});
