//! What operators ask for: metrics, and whether there is room for more.

use super::ActorError as Error;
use super::service::Service;
use std::sync::Arc;

/// Tells the bytes that are free where the data lie; `None` where that cannot be known.
pub type FreeSpace = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

impl Service {
    /// All metrics in the Prometheus text format.
    pub async fn metrics(&self) -> Result<String, Error> {
        let accounts = self.accounts().await?;
        Ok(self.metrics.render(accounts.iter().map(|account| account.view.state), (self.free_space)()))
    }

    /// Refuses what would make the store grow while the disk is nearly full: the engine must never meet its end.
    pub(super) fn check_space(&self) -> Result<(), Error> {
        match (self.free_space)() {
            Some(free) if free < self.keep_free => Err(Error::NoSpace { free, keep: self.keep_free }),
            _ => Ok(()),
        }
    }
}
