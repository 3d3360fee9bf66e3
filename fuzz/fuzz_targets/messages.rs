//! Every decoder of messages, records and identities: hostile bytes fail, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf::base::secret::Secret;
use wharf::signal::{
    IdentityKey, OurSenderKey, PreKeySignalMessage, PublicKey, SenderKeyDistribution, SenderKeyMessage, Session,
    SignalMessage, TheirSenderKeys,
};
use wharf::wire::{adv, message, payload, qr::QrCode, verify_chain};

fuzz_target!(|bytes: &[u8]| {
    let _ = SignalMessage::parse(bytes);
    let _ = PreKeySignalMessage::parse(bytes);
    let _ = SenderKeyMessage::parse(bytes);
    let _ = SenderKeyDistribution::parse(bytes);
    if let Ok(session) = Session::decode(bytes) {
        assert!(Session::decode(&session.encode()).is_ok());
    }
    let _ = OurSenderKey::decode(bytes);
    if let Ok(keys) = TheirSenderKeys::decode(bytes) {
        assert!(TheirSenderKeys::decode(&keys.encode()).is_ok());
    }
    let key = PublicKey::from_bytes([9; 32]);
    let _ = adv::verify_pairing(bytes, &Secret::new([1; 32]), &IdentityKey(key));
    let _ = adv::verify_companion(bytes, &IdentityKey(key), None);
    let _ = adv::read_key_indexes(bytes);
    let _ = verify_chain(&key, bytes, &key);
    let _ = message::decode(bytes);
    let _ = payload::read(bytes);
    let _ = QrCode::parse(&String::from_utf8_lossy(bytes));
});
