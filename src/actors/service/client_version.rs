//! The WhatsApp Web version that accounts announce: as set, or as its service worker names it, refreshed once a day
//! (`wire-protocol.md` 1.1).

use crate::account::SharedVersion;
use crate::actors::committer::store::Store;
use crate::actors::error::ActorError as Error;
use crate::base::ids::AccountKey;
use crate::base::time::{Clock, Timestamp};
use crate::storage::{ChangeSet, kind, owner};
use crate::wire::payload::ClientVersion;
use std::sync::Arc;
use std::time::Duration;

/// Name of the server's record of the version and its time.
const STORED: &str = "client_version";
const GOOD_FOR: Duration = Duration::from_secs(24 * 60 * 60);
const RETRY: Duration = Duration::from_secs(60 * 60);
const TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes of the service worker's source.
const MAX_SOURCE: usize = 4 * 1024 * 1024;

/// Refreshes the version while the server runs.
pub(in crate::actors) struct Refresher {
    pub(in crate::actors) store: Store,
    pub(in crate::actors) clock: Arc<dyn Clock>,
    pub(in crate::actors) version: Arc<SharedVersion>,
    pub(in crate::actors) source: String,
}

impl Refresher {
    /// Starts with the stored version, and refreshes it when it is a day old.
    pub(in crate::actors) async fn run(self) {
        let mut known = self.stored().unwrap_or_default();
        if let Some((version, _)) = known {
            self.version.set(version);
        }
        loop {
            let now = self.clock.now();
            let wait = known.map_or(Duration::ZERO, |(_, at)| at.plus(GOOD_FOR).after(now));
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
                continue;
            }
            match self.ask().await {
                Ok(version) => {
                    self.version.set(version);
                    known = Some((version, self.clock.now()));
                    if let Err(error) = self.keep(version).await {
                        tracing::warn!(%error, "client version cannot be stored");
                    }
                    tracing::info!(%version, "client version refreshed");
                }
                Err(error) => {
                    let version = self.version.get();
                    tracing::warn!(%error, %version, "client version cannot be refreshed, using the known one");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn stored(&self) -> Result<Option<(ClientVersion, Timestamp)>, Error> {
        let stored = self.store.records.get(AccountKey::SERVER, kind::META, STORED.as_bytes())?;
        let text = stored.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let read = text.split_once(' ').and_then(|(revision, at)| Some((revision.parse().ok()?, at.parse().ok()?)));
        Ok(read.map(|(revision, at)| (version_of(revision), Timestamp(at))))
    }

    async fn keep(&self, version: ClientVersion) -> Result<(), Error> {
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.put(kind::META, STORED, format!("{} {}", version.2, self.clock.now().0));
        Ok(self.store.commit_server(writes).await?)
    }

    async fn ask(&self) -> Result<ClientVersion, Error> {
        let failed = |why: String| Error::Network(format!("{}: {why}", self.source));
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let asked = client.map_err(|error| failed(error.to_string()))?.get(&self.source).send().await;
        let mut answer =
            asked.and_then(reqwest::Response::error_for_status).map_err(|error| failed(error.to_string()))?;
        let mut source = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| failed(error.to_string()))? {
            source.extend_from_slice(&piece);
            if source.len() > MAX_SOURCE {
                return Err(failed("the answer is too large".to_owned()));
            }
        }
        read_revision(&source).map(version_of).ok_or_else(|| failed("it names no client_revision".to_owned()))
    }
}

fn version_of(revision: u32) -> ClientVersion {
    ClientVersion(ClientVersion::DEFAULT.0, ClientVersion::DEFAULT.1, revision)
}

/// The number behind `client_revision`.
fn read_revision(source: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"client_revision";
    let at = source.windows(NAME.len()).position(|window| window == NAME)?;
    let rest = source.get(at + NAME.len()..)?;
    let between = rest.iter().take_while(|byte| b"\\: \"".contains(byte)).count();
    let rest = rest.get(between..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_is_read_from_the_service_worker() {
        assert_eq!(read_revision(br#"x={"client_revision":1045368834,"y":1}"#), Some(1_045_368_834));
        assert_eq!(read_revision(b"client_revision:7}"), Some(7));
        for without in [&b""[..], b"client_revision", b"client_revision:soon, 12", b"client_revision:99999999999"] {
            assert_eq!(read_revision(without), None);
        }
    }
}
