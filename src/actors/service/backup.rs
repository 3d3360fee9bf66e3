//! Backups while the server runs.

use crate::actors::error::ActorError as Error;
use crate::actors::fleet::record::stored_accounts;
use crate::actors::service::state::Service;
use crate::base::ids::AccountId;
use crate::base::time::Timestamp;
use crate::storage::{ChangeSet, DATA_FORMAT, Manifest, Records, format_of, kind, owner, write_backup};
use std::io::{self, Write};
use tokio::sync::mpsc;

/// The manifest of a backup: of one account, or of the whole store.
pub fn manifest_of(records: &Records, account: Option<&AccountId>, now: Timestamp) -> Result<Manifest, Error> {
    let mut accounts = stored_accounts(records)?;
    if let Some(wanted) = account {
        accounts.retain(|(id, _)| id == wanted);
        if accounts.is_empty() {
            return Err(Error::NoAccount(wanted.to_string()));
        }
    }
    Ok(Manifest {
        created_at: now,
        data_format: format_of(records)?.unwrap_or(DATA_FORMAT),
        wharf: env!("CARGO_PKG_VERSION").to_owned(),
        whole: account.is_none(),
        accounts: accounts.into_iter().map(|(id, key)| (id.to_string(), key)).collect(),
    })
}

/// Name of the server's record of the last backup's time.
pub(super) const BACKED_UP: &str = "backed up";

impl Service {
    /// Streams a backup of one account, or of the whole store, while the server runs. An incomplete one ends with an error and lacks
    /// its checksum.
    pub fn backup(&self, account: Option<&AccountId>) -> Result<mpsc::Receiver<io::Result<Vec<u8>>>, Error> {
        let manifest = manifest_of(&self.store.records, account, self.now())?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let (records, store, now) = (self.store.records.clone(), self.store.clone(), self.now());
        let runtime = tokio::runtime::Handle::current();
        let write = move || {
            let mut out = io::BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
            let written = write_backup(records.engine(), &manifest, &mut out).map_err(io::Error::other);
            match written {
                Ok(_) => {
                    let mut writes = ChangeSet::<owner::Server>::default();
                    writes.put(kind::META, BACKED_UP, now.secs().to_string());
                    if let Err(error) = runtime.block_on(store.commit_server(writes)) {
                        tracing::warn!(%error, "backup time cannot be stored");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "backup failed");
                    // The reader may have gone.
                    let _ = sender.blocking_send(Err(error));
                }
            }
        };
        std::thread::Builder::new()
            .name("backup".into())
            .spawn(write)
            .map_err(|error| Error::Network(error.to_string()))?;
        Ok(pieces)
    }
}

/// Bytes of one piece of a backup, and most pieces that wait for the reader.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 8;

/// Passes written bytes to the reader; a slow reader slows down the backup, not the server.
struct Pieces(mpsc::Sender<io::Result<Vec<u8>>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(bytes.to_vec())).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
