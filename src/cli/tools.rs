//! What the operators' commands share: a backup over the network, and words for what was done.

use super::CliError;
use crate::app::AppError;
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

/// Asks something of a running server.
pub(super) async fn ask(
    server: &str,
    method: reqwest::Method,
    path: &str,
    query: &[(&str, &str)],
) -> Result<reqwest::Response, CliError> {
    let failed = |why: String| CliError::Server { server: server.to_owned(), why };
    // That one is installed already is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| failed(error.to_string()))?;
    let mut url = url::Url::parse(server).and_then(|url| url.join(path)).map_err(|error| failed(error.to_string()))?;
    for (name, value) in query {
        url.query_pairs_mut().append_pair(name, value);
    }
    let key = std::env::var("WHARF_ADMIN_KEY").unwrap_or_default();
    let answer =
        client.request(method, url).bearer_auth(key).send().await.map_err(|error| failed(error.to_string()))?;
    match answer.status().is_success() {
        true => Ok(answer),
        false => {
            let status = answer.status();
            Err(failed(format!("{status} {}", answer.text().await.unwrap_or_default())))
        }
    }
}

/// Downloads a backup of a running server.
pub(super) async fn backup_from(server: &str, account: Option<&AccountId>, file: &Path) -> Result<(), CliError> {
    let failed = |error: reqwest::Error| CliError::Server { server: server.to_owned(), why: error.to_string() };
    let query: Vec<_> = account.iter().map(|account| ("account", account.as_str())).collect();
    let mut answer = ask(server, reqwest::Method::GET, "/v1/admin/backup", &query).await?;
    let mut out = NewFile::create(file).map_err(AppError::from)?;
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        out.write(&piece).map_err(AppError::from)?;
    }
    Ok(out.finish().map_err(AppError::from)?)
}
