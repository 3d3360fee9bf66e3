//! The key ring: the wrapped data keys of all accounts, in a small file that is replaced atomically.
//!
//! A store keeps what was overwritten in its log for a long time; a file that is replaced does not. Invariant: a key that is removed or
//! wrapped anew is gone from the folder once [`KeyRing::write`] has returned. The file stands twice, for one that is damaged would be the
//! loss of everything.

use super::StorageError;
use super::files::replace;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 9] = b"WHARFKEY\x01";
const NAMES: [&str; 2] = ["key-ring", "key-ring.copy"];
const DIGEST: usize = 32;

/// Wrapped data keys, by the key of the row that they stand for.
pub(super) type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) struct KeyRing(PathBuf);

fn failed(action: &'static str) -> impl Fn(io::Error) -> StorageError {
    move |error| StorageError::Engine { action, why: error.to_string() }
}

impl KeyRing {
    /// The ring in this folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Reads the ring; it is empty where there is no file.
    pub(super) fn read(&self) -> Result<Keys, StorageError> {
        let mut damaged = None;
        for name in NAMES {
            let path = self.0.join(name);
            match fs::read(&path) {
                Ok(bytes) => match decode(&bytes) {
                    Some(keys) => return Ok(keys),
                    None => damaged = Some(path),
                },
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read its key ring")(error)),
            }
        }
        match damaged {
            Some(path) => Err(StorageError::KeyRing { path: path.display().to_string() }),
            None => Ok(Keys::new()),
        }
    }

    /// Replaces the ring, durably.
    pub(super) fn write(&self, keys: &Keys) -> Result<(), StorageError> {
        let bytes = encode(keys);
        NAMES.iter().try_for_each(|name| replace(&self.0, name, &bytes)).map_err(failed("write its key ring"))
    }
}

fn encode(keys: &Keys) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for field in keys.iter().flat_map(|(row, wrapped)| [row, wrapped]) {
        out.extend_from_slice(&(field.len() as u64).to_be_bytes());
        out.extend_from_slice(field);
    }
    let digest = Sha256::digest(&out);
    out.extend_from_slice(&digest);
    out
}

fn decode(bytes: &[u8]) -> Option<Keys> {
    let (text, digest) = bytes.split_last_chunk::<DIGEST>()?;
    let mut rest = text.strip_prefix(MAGIC).filter(|_| Sha256::digest(text)[..] == digest[..])?;
    let mut field = || {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let (field, after) = after.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        rest = after;
        Some(field.to_vec())
    };
    let mut keys = Keys::new();
    while let Some(row) = field() {
        keys.insert(row, field()?);
    }
    rest.is_empty().then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(wrapped: u8) -> Keys {
        [(vec![1; 33], vec![wrapped; 80]), (vec![2; 33], vec![wrapped; 70])].into()
    }

    #[test]
    fn the_ring_is_read_back_though_one_of_its_files_is_damaged_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let ring = KeyRing::of(folder.path());
        assert_eq!(ring.read().unwrap(), Keys::new());
        ring.write(&keys(3)).unwrap();
        ring.write(&keys(4)).unwrap();
        for name in NAMES {
            for damage in [&b""[..], b"WHARFKEY\x01torn"] {
                let (path, whole) = (folder.path().join(name), fs::read(folder.path().join(name)).unwrap());
                fs::write(&path, damage).unwrap();
                assert_eq!(ring.read().unwrap(), keys(4));
                fs::write(path, whole).unwrap();
            }
        }
        fs::remove_file(folder.path().join(NAMES[0])).unwrap();
        assert_eq!(ring.read().unwrap(), keys(4));
        fs::write(folder.path().join(NAMES[1]), b"torn").unwrap();
        assert!(matches!(ring.read(), Err(StorageError::KeyRing { .. })));
    }

    #[test]
    fn every_changed_byte_of_a_ring_is_found() {
        let bytes = encode(&keys(3));
        assert_eq!(decode(&bytes), Some(keys(3)));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed), None, "{at}");
        }
    }

    #[test]
    fn a_ring_has_the_golden_form() {
        let bytes = encode(&[(vec![7], vec![8, 9])].into());
        assert_eq!(
            hex::encode(&bytes[..28]),
            "5748415246 4b4559 01 0000000000000001 07 0000000000000002 0809".replace(' ', "")
        );
    }
}
