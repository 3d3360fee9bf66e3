//! Small files that are replaced atomically, folders that are synced, and their size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces a file of a folder, durably: after a crash it is the old one or the new one.
pub(super) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, part) = (folder.join(name), folder.join(format!("{name}.part")));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(folder)?.sync_all()
}

/// Makes the files of a folder and their names durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

/// The bytes of all files below a folder. What is removed meanwhile counts nothing.
pub fn folder_size(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        size += if meta.is_dir() { folder_size(&entry.path()).unwrap_or(0) } else { meta.len() };
    }
    Ok(size)
}
