//! Stored records are hostile too: what is read as a session or a sender key is written back as itself, and the rest is an error. So
//! are backups, rows of the event log and rows of an older format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf::signal::{OurSenderKey, Part, Session, TheirSenderKeys};

fuzz_target!(|bytes: &[u8]| {
    // A byte for the kind of part, two for its length, then the part.
    let mut rows = std::collections::BTreeMap::new();
    let mut rest = bytes;
    while let Some(([kind, length @ ..], tail)) = rest.split_first_chunk::<3>() {
        let (body, tail) = tail.split_at(tail.len().min(usize::from(u16::from_be_bytes(*length))));
        rest = tail;
        let number = u32::from(kind >> 4);
        rows.insert(
            match kind % 3 {
                0 => Part::Head,
                1 => Part::Archived(number),
                _ => Part::Keys { state: number, chain: number & 3, block: 0 },
            },
            body,
        );
    }
    if let Ok(session) = Session::from_parts(rows.clone()) {
        let parts = session.to_parts();
        let again = Session::from_parts(parts.iter().map(|(part, bytes)| (*part, bytes))).unwrap();
        assert_eq!(again.to_parts(), parts);
    }
    if let Ok(keys) = TheirSenderKeys::from_parts(rows) {
        let parts = keys.to_parts();
        let again = TheirSenderKeys::from_parts(parts.iter().map(|(part, bytes)| (*part, bytes))).unwrap();
        assert_eq!(again.to_parts(), parts);
    }
    // Random bytes have no right checksum.
    assert!(wharf::storage::verify_backup(bytes).is_err());
    assert!(wharf::storage::verify_backup(&[b"WHARFBAK\x01", bytes].concat()[..]).is_err());
    let _ = wharf::actors::EventRow::decode(bytes);
    wharf::storage::migrate_rows(bytes);
    if let Ok(key) = OurSenderKey::decode(bytes) {
        assert_eq!(OurSenderKey::decode(&key.encode()).unwrap().encode(), key.encode());
    }
});
