//! The commit mark: position and running hash of the last durable commit, in the store and in a file of its own.
//!
//! sled drops the damaged end of its log in silence, and an older copy of a folder opens as if it were the newest. Invariant: the file
//! never tells of a commit that the store has not synced, so a store behind its file has lost commits. The file is synced a moment later
//! (`mark_sync.rs`): after a crash of the machine it may be older than the store, never newer.

use crate::base::ids::random_hex;
use rand::Rng;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Two slots, written in turn: a torn write damages the older of the two.
const SLOTS: [u64; 2] = [0, 4096];
const SLOT: usize = 128;
const MAGIC: &str = "wharf-mark-1";

/// The place of a commit in the history of its store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Commits so far.
    pub position: u64,
    /// Of the mark before, and of this commit's writes.
    hash: [u8; 32],
}

impl Mark {
    /// The mark of a store that never had one: its history begins here.
    pub(super) fn begin(rng: &mut dyn Rng) -> Self {
        Self { position: 0, hash: Sha256::digest(random_hex::<16>(rng)).into() }
    }

    /// The mark after a commit of these writes.
    #[must_use]
    pub(super) fn next<'w>(self, writes: impl Iterator<Item = (&'w Vec<u8>, &'w Option<Vec<u8>>)>) -> Self {
        let mut hash = Sha256::new_with_prefix(self.hash);
        let length = |bytes: &[u8]| (bytes.len() as u64).to_be_bytes();
        for (key, value) in writes {
            hash.update(length(key));
            hash.update(key);
            hash.update([u8::from(value.is_some())]);
            if let Some(value) = value {
                hash.update(length(value));
                hash.update(value);
            }
        }
        Self { position: self.position + 1, hash: hash.finalize().into() }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        [&self.position.to_be_bytes()[..], &self.hash].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (position, hash) = bytes.split_first_chunk()?;
        Some(Self { position: u64::from_be_bytes(*position), hash: hash.try_into().ok()? })
    }

    fn line(self) -> String {
        let text = format!("{MAGIC} {} {}", self.position, hex::encode(self.hash));
        format!("{text} {}\n", check(&text))
    }

    fn parse(slot: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(slot).ok()?.split('\n').next()?;
        let (text, sum) = line.rsplit_once(' ')?;
        let [MAGIC, position, hash] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
        let hash = <[u8; 32]>::try_from(hex::decode(hash).ok()?).ok()?;
        (check(text) == sum).then_some(Self { position: position.parse().ok()?, hash })
    }
}

fn check(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// The file of the mark.
pub(super) struct MarkFile(File);

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing was ever written.
    Nothing,
    Mark(Mark),
    Damage,
}

impl MarkFile {
    /// Opens the file, creating it where there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let is_new = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if is_new {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(Self(file))
    }

    pub(super) fn read(&self) -> io::Result<Told> {
        if self.0.metadata()?.len() == 0 {
            return Ok(Told::Nothing);
        }
        let mut newest = None;
        for at in SLOTS {
            let mut slot = [0; SLOT];
            let read = self.0.read_at(&mut slot, at)?;
            newest = newest.max(Mark::parse(&slot[..read]).map(|mark| (mark.position, mark.hash)));
        }
        Ok(newest.map_or(Told::Damage, |(position, hash)| Told::Mark(Mark { position, hash })))
    }

    /// Writes the mark: it survives the end of the process, and with [`sync`](Self::sync) that of the machine.
    pub(super) fn write(&self, mark: Mark) -> io::Result<()> {
        let mut slot = mark.line().into_bytes();
        slot.resize(SLOT, b'\n');
        self.0.write_all_at(&slot, SLOTS[usize::from(mark.position % 2 == 1)])
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// Forgets what the file says. The next mark may be lower.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn marks(count: usize) -> Vec<Mark> {
        let first = Mark::begin(&mut StdRng::seed_from_u64(1));
        std::iter::successors(Some(first), |mark| Some(mark.next([(&vec![1], &None)].into_iter())))
            .take(count)
            .collect()
    }

    #[test]
    fn the_newest_mark_is_read_back_though_the_other_slot_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let file = MarkFile::open(&path).unwrap();
        assert_eq!(file.read().unwrap(), Told::Nothing);
        for mark in marks(5) {
            file.write(mark).unwrap();
            assert_eq!(MarkFile::open(&path).unwrap().read().unwrap(), Told::Mark(mark));
        }
        let (before, last) = (marks(5)[3], marks(5)[4]);
        file.0.write_all_at(b"torn", SLOTS[1]).unwrap();
        assert_eq!(file.read().unwrap(), Told::Mark(last));
        file.write(before).unwrap();
        file.0.write_all_at(b"torn", SLOTS[0]).unwrap();
        assert_eq!(file.read().unwrap(), Told::Mark(before));
        file.0.write_all_at(b"torn", SLOTS[1]).unwrap();
        assert_eq!(file.read().unwrap(), Told::Damage);
        file.clear().unwrap();
        assert_eq!(file.read().unwrap(), Told::Nothing);
    }

    #[test]
    fn the_hash_tells_histories_of_the_same_length_apart() {
        let first = marks(1)[0];
        let writes = |key: u8, value: Option<Vec<u8>>| (vec![key], value);
        let next = |(key, value): (Vec<u8>, Option<Vec<u8>>)| first.next([(&key, &value)].into_iter());
        assert_eq!(next(writes(1, None)), next(writes(1, None)));
        assert_ne!(next(writes(1, None)), next(writes(2, None)));
        assert_ne!(next(writes(1, None)), next(writes(1, Some(vec![]))));
        assert_ne!(first, Mark::begin(&mut StdRng::seed_from_u64(2)));
        assert_eq!(Mark::decode(&next(writes(1, None)).encode()), Some(next(writes(1, None))));
    }

    #[test]
    fn a_slot_has_the_golden_form() {
        let line = Mark { position: 7, hash: [0xab; 32] }.line();
        assert!(line.starts_with("wharf-mark-1 7 abab") && line.len() <= SLOT, "{line}");
        assert_eq!(Mark::parse(line.as_bytes()), Some(Mark { position: 7, hash: [0xab; 32] }));
        assert_eq!(Mark::parse(line.replace(" 7 ", " 8 ").as_bytes()), None);
    }
}
