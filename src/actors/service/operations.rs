//! What operators ask for: metrics, whether there is room for more, backups while the server runs.

use crate::account::{Contact, ErasePage, Erased, Input};
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::calls::KeyOf;
use crate::actors::fleet::record::stored_accounts;
use crate::actors::fleet::upkeep::{Delete, RotateDataKeys};
use crate::actors::service::state::Service;
use crate::base::counts::Counts;
use crate::base::ids::AccountId;
use crate::base::time::Timestamp;
use crate::storage::{ChangeSet, DATA_FORMAT, Manifest, Records, format_of, kind, owner, write_backup};
use std::convert::Infallible;
use std::io::{self, Write};
use tokio::sync::mpsc;

/// The manifest for a backup of these records: of one account, or of everything.
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

/// Under this name, among the server's facts: when the last backup was made.
pub(super) const BACKED_UP: &str = "backed up";
impl Service {
    /// Replaces all data keys and seals every record again, in the background. Returns the number of keys.
    pub async fn rotate_data_keys(&self) -> Result<usize, Error> {
        self.ask(RotateDataKeys).await
    }

    /// Logs an account out and erases everything of it. Returns what went.
    pub async fn delete_account(&self, id: &AccountId) -> Result<Counts, Error> {
        self.ask(Delete(id.clone())).await?
    }

    /// Erases what is known of a contact: messages, events, sessions, identities. Returns what went.
    pub async fn erase_contact(&self, id: &AccountId, contact: &Contact) -> Result<Counts, Error> {
        let (mut counts, handle) = (Counts::default(), self.account(id));
        let mut page = Some(Box::new(ErasePage::first(contact)));
        let mut addresses = Vec::new();
        while let Some(step) = page.take() {
            let erased: Result<Erased, Infallible> = handle.ask(|reply| Input::Erase(step, reply), false).await?;
            let Ok(erased) = erased;
            counts.merge(erased.counts);
            (addresses, page) = (erased.addresses, erased.next);
        }
        let account = self.ask(KeyOf(id.clone())).await??;
        counts.merge(self.store.erase_events(account, addresses).await?);
        Ok(counts)
    }

    /// Begins a backup of one account, or of everything, while the server goes on. It comes in pieces; one that breaks off ends with
    /// an error, and lacks its checksum.
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
                    // The caller may be gone.
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

/// Bytes of a backup that are handed over at a time, and how many such may wait.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 8;

/// Hands over what is written; slow readers slow down the backup, not the server.
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
