//! What the operators' commands share: a backup over the network, and words for what was done.

use super::CliError;
use crate::base::ids::AccountId;
use crate::operate::NewFile;
use crate::storage::{Extent, Manifest};
use std::path::Path;

pub(super) const AFTER_RESTORE: &str = "with the next start sessions are set up anew, prekeys replaced, and what waited to be \
     sent is failed with outcome_unknown";

pub(super) fn describe(manifest: &Manifest, extent: Extent) -> String {
    let what = if manifest.whole { "everything" } else { "single accounts" };
    let Extent { rows, bytes } = extent;
    let (accounts, at, format) = (manifest.accounts.len(), manifest.created_at.rfc3339(), manifest.data_format);
    format!(
        "a whole backup file of {what}, {accounts} accounts, {rows} rows, {bytes} bytes, data format {format}, made {at}"
    )
}

/// Downloads a backup of a running server.
pub(super) async fn backup_from(server: &str, account: Option<&AccountId>, file: &Path) -> Result<(), CliError> {
    let failed = |why: String| CliError::Download { server: server.to_owned(), why };
    // That one is installed already is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| failed(error.to_string()))?;
    let mut url =
        url::Url::parse(server).and_then(|url| url.join("/v1/admin/backup")).map_err(|e| failed(e.to_string()))?;
    if let Some(account) = account {
        url.query_pairs_mut().append_pair("account", account.as_str());
    }
    let key = std::env::var("WHARF_ADMIN_KEY").unwrap_or_default();
    let answer = client.get(url).bearer_auth(key).send().await.map_err(|error| failed(error.to_string()))?;
    if !answer.status().is_success() {
        let status = answer.status();
        let detail = answer.text().await.unwrap_or_default();
        return Err(failed(format!("{status} {detail}")));
    }
    let mut answer = answer;
    let mut out = NewFile::create(file).map_err(crate::app::AppError::from)?;
    while let Some(piece) = answer.chunk().await.map_err(|error| failed(error.to_string()))? {
        out.write(&piece).map_err(crate::app::AppError::from)?;
    }
    Ok(out.finish().map_err(crate::app::AppError::from)?)
}
