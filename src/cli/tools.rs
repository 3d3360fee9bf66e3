//! Helpers of the operators' commands: requests to a running server, backup files, messages.

use super::CliError;
use crate::app::AppError;
use crate::base::ids::AccountId;
use crate::base::time::Timestamp;
use crate::operate::NewFile;
use crate::storage::{Extent, Manifest};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Prefix and suffix of generated backup names.
const PREFIX: &str = "wharf-";
const SUFFIX: &str = ".backup";

pub(super) const AFTER_RESTORE: &str = "with the next start sessions are set up again, prekeys replaced, and queued messages \
     fail with outcome_unknown";

pub(super) fn describe(manifest: &Manifest, extent: Extent) -> String {
    let what = if manifest.whole { "everything" } else { "single accounts" };
    let Extent { rows, bytes } = extent;
    let (accounts, at, format) = (manifest.accounts.len(), manifest.created_at.rfc3339(), manifest.data_format);
    format!(
        "a whole backup file of {what}, {accounts} accounts, {rows} rows, {bytes} bytes, data format {format}, made {at}"
    )
}

/// Sends a request to a running server.
pub(super) async fn ask(
    server: &str,
    method: reqwest::Method,
    path: &str,
    query: &[(&str, &str)],
) -> Result<reqwest::Response, CliError> {
    send(server, method, path, query, None).await
}

/// Sends a request with a body; the answer is JSON or empty.
pub(super) async fn call(server: &str, method: &str, path: &str, body: Option<Value>) -> Result<Value, CliError> {
    let failed = |why: String| CliError::Server { server: server.to_owned(), why };
    let method = method.parse().map_err(|_| failed(format!("{method} is no method")))?;
    let answer = send(server, method, path, &[], body).await?;
    let bytes = answer.bytes().await.map_err(|error| failed(error.to_string()))?;
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn send(
    server: &str,
    method: reqwest::Method,
    path: &str,
    query: &[(&str, &str)],
    body: Option<Value>,
) -> Result<reqwest::Response, CliError> {
    let failed = |why: String| CliError::Server { server: server.to_owned(), why };
    // An installed provider is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| failed(error.to_string()))?;
    let mut url = url::Url::parse(server).and_then(|url| url.join(path)).map_err(|error| failed(error.to_string()))?;
    for (name, value) in query {
        url.query_pairs_mut().append_pair(name, value);
    }
    let key = std::env::var("WHARF_ADMIN_KEY").unwrap_or_default();
    let mut request = client.request(method, url).bearer_auth(key);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.map_err(|error| failed(error.to_string()))?;
    match answer.status().is_success() {
        true => Ok(answer),
        false => {
            let status = answer.status();
            Err(failed(format!("{status} {}", answer.text().await.unwrap_or_default())))
        }
    }
}

/// The backup's path: a generated name if this is a folder, else the file itself.
pub(super) fn file_for(path: PathBuf, now: Timestamp) -> PathBuf {
    if !path.is_dir() {
        return path;
    }
    let time: String = now.rfc3339().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    path.join(format!("{PREFIX}{time}Z{SUFFIX}"))
}

pub(super) fn make_folder(path: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(path).map_err(|why| CliError::Folder { path: path.to_owned(), why })
}

/// Deletes the oldest backups beside this one until so many are left. Files with other names are ignored.
pub(super) fn keep_newest(file: &Path, keep: usize) -> Result<(), CliError> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let failed = |why: std::io::Error| CliError::Folder { path: folder.to_owned(), why };
    let mut ours = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            ours.push(entry.path());
        }
    }
    ours.sort();
    let old = ours.len().saturating_sub(keep.max(1));
    ours.iter().take(old).try_for_each(|path| std::fs::remove_file(path).map_err(failed))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_backups_in_a_folder_the_newest_are_kept_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(make_folder(&folder.path().join("deeper/down")).is_ok());
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        let at = |day: u64| file_for(folder.path().to_owned(), Timestamp(1_760_000_000_000 + day * 86_400_000));
        let files: Vec<PathBuf> = (0..4).map(at).collect();
        files.iter().for_each(|file| std::fs::write(file, "").unwrap());
        assert!(files[0].ends_with("wharf-20251009T085320Z.backup"), "{:?}", files[0]);
        keep_newest(&files[3], 2).unwrap();
        let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
        assert_eq!(left, [false, false, true, true]);
        assert!(folder.path().join("notes.txt").exists());
        let refused = make_folder(&files[3]).unwrap_err().to_string();
        assert!(refused.contains(".backup is no folder for backups"), "{refused}");
        assert_eq!(file_for(files[3].clone(), Timestamp(0)), files[3]);
    }
}
