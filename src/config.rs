//! Settings: `config.yaml`, overridden by `WHARF__SECTION__KEY`. An unknown key is an error that names the nearest known one.

use crate::signal::PublicKey;
use crate::signal::limits::{MAX_FORWARD_JUMPS, MAX_FORWARD_JUMPS_OF_OTHERS, PREKEY_BATCH};
use crate::wire::payload::ClientVersion;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The root of the real service's certificates (`wire-protocol.md` 1.3).
const WHATSAPP_ROOT: &str = "142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b";
const WHATSAPP_URL: &str = "wss://web.whatsapp.com/ws/chat";
const VERSION_URL: &str = "https://web.whatsapp.com/sw.js";
const SANDBOX_URL: &str = "ws://127.0.0.1:7070/ws/chat";

/// An error in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{path} cannot be read: {why}")]
    Unreadable { path: String, why: String },
    #[error("unknown setting {key}; did you mean {nearest}?")]
    Unknown { key: String, nearest: String },
    #[error("the settings cannot be used: {0}")]
    Invalid(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    Whatsapp,
    Sandbox,
}

impl NetworkKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Sandbox => "sandbox",
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text.
    Pretty,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub listen: String,
    pub data: String,
    pub log: String,
    pub log_format: LogFormat,
    pub drain_seconds: u64,
    pub http: HttpConfig,
    pub storage: StorageConfig,
    pub network: NetworkConfig,
    pub accounts: AccountsConfig,
    pub webhooks: WebhooksConfig,
    pub retention: RetentionConfig,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpConfig {
    pub public_url: Option<String>,
    pub cors_origins: Vec<String>,
    pub body_seconds: u64,
    pub connections_per_address: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageConfig {
    pub cache_mib: u64,
    pub keep_free_mib: u64,
    pub compact_from_mib: u64,
    pub compact_seconds: u64,
    pub seal: bool,
    pub master_key_file: Option<String>,
    pub key_file_must_be_private: bool,
    pub mark_file: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionConfig {
    pub events_days: u64,
    pub messages_days: u64,
    pub inbox_days: u64,
    pub sent_minutes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    pub kind: NetworkKind,
    pub url: Option<String>,
    pub root_key: Option<String>,
    pub client_version: Option<String>,
    pub version_url: Option<String>,
    pub ca_file: Option<String>,
    pub connects_per_second: u32,
    pub allow_private_proxies: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountsConfig {
    pub device_name: String,
    pub prekey_batch: u32,
    pub reject_calls: bool,
    pub forward_jumps: u32,
    pub forward_jumps_own: u32,
    pub threads: usize,
    pub stuck_seconds: u64,
    pub rest_seconds: u64,
    pub cached_groups: u64,
    pub cached_groups_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhooksConfig {
    pub allow_private: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            data: "./data".into(),
            log: "info".into(),
            log_format: LogFormat::Pretty,
            drain_seconds: 20,
            http: HttpConfig {
                public_url: None,
                cors_origins: Vec::new(),
                body_seconds: 30,
                connections_per_address: 512,
            },
            storage: StorageConfig {
                cache_mib: 32,
                keep_free_mib: 256,
                compact_from_mib: 64,
                compact_seconds: 600,
                seal: true,
                master_key_file: None,
                key_file_must_be_private: false,
                mark_file: None,
            },
            network: NetworkConfig {
                kind: NetworkKind::Whatsapp,
                url: None,
                root_key: None,
                client_version: None,
                version_url: None,
                ca_file: None,
                connects_per_second: 50,
                allow_private_proxies: None,
            },
            accounts: AccountsConfig {
                device_name: "Wharf".into(),
                prekey_batch: PREKEY_BATCH,
                reject_calls: false,
                forward_jumps: MAX_FORWARD_JUMPS_OF_OTHERS,
                forward_jumps_own: MAX_FORWARD_JUMPS,
                threads: 2,
                stuck_seconds: 30,
                rest_seconds: 120,
                cached_groups: 500,
                cached_groups_seconds: 3600,
            },
            webhooks: WebhooksConfig { allow_private: None },
            retention: RetentionConfig { events_days: 30, messages_days: 30, inbox_days: 30, sent_minutes: 120 },
        }
    }
}

impl Config {
    /// Reads the file, if there is one, and overrides it by the environment.
    pub fn load(path: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
                path: path.display().to_string(),
                why: error.to_string(),
            })?,
        };
        Self::parse(&text, env)
    }

    fn parse(text: &str, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let invalid = |error: String| ConfigError::Invalid(error);
        let mut settings = serde_json::to_value(Self::default()).map_err(|error| invalid(error.to_string()))?;
        let blank = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if !blank {
            let file: Value = serde_saphyr::from_str(text).map_err(|error| invalid(error.to_string()))?;
            overlay(&mut settings, file, "")?;
        }
        for (name, value) in env {
            let Some(path) = name.strip_prefix("WHARF__") else { continue };
            let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
            let nested = path.to_lowercase().rsplit("__").fold(value, |value, key| {
                let mut map = serde_json::Map::new();
                map.insert(key.to_owned(), value);
                Value::Object(map)
            });
            overlay(&mut settings, nested, "")?;
        }
        let config: Self = serde_json::from_value(settings).map_err(|error| invalid(error.to_string()))?;
        config.root_key()?;
        config.client_version()?;
        if !(1..=10_000).contains(&config.accounts.prekey_batch) {
            return Err(invalid("accounts.prekey_batch must be 1 to 10000".into()));
        }
        let absolute = |path: &str| std::path::absolute(path).map_err(|error| invalid(error.to_string()));
        if absolute(&config.master_key_file())?.starts_with(absolute(&config.data)?) {
            return Err(invalid("storage.master_key_file must lie outside the data folder".into()));
        }
        if absolute(&config.mark_file())?.starts_with(absolute(&config.data)?) {
            return Err(invalid("storage.mark_file must lie outside the data folder".into()));
        }
        for origin in &config.http.cors_origins {
            if origin != "*" && !is_origin(origin) {
                let rule = "expected origins such as https://bots.example, or \"*\"";
                return Err(invalid(format!("http.cors_origins: {rule}, not {origin:?}")));
            }
        }
        if config.http.public_url.as_ref().is_some_and(|url| !is_origin(url)) {
            return Err(invalid("http.public_url must be an origin such as https://wharf.example".into()));
        }
        if config.http.body_seconds == 0 || config.http.connections_per_address == 0 {
            return Err(invalid("http.body_seconds and connections_per_address must be 1 or more".into()));
        }
        if config.accounts.cached_groups == 0 || config.accounts.cached_groups_seconds == 0 {
            return Err(invalid("accounts.cached_groups and cached_groups_seconds must be 1 or more".into()));
        }
        if !(1..=10_000).contains(&config.network.connects_per_second) {
            return Err(invalid("network.connects_per_second must be 1 to 10000".into()));
        }
        if config.accounts.stuck_seconds == 0 || config.accounts.rest_seconds == 0 {
            return Err(invalid("accounts.stuck_seconds and rest_seconds must be 1 or more".into()));
        }
        let retention = &config.retention;
        for (name, days) in [
            ("events_days", retention.events_days),
            ("messages_days", retention.messages_days),
            ("inbox_days", retention.inbox_days),
        ] {
            if !(1..=36_500).contains(&days) {
                return Err(invalid(format!("retention.{name} must be 1 to 36500")));
            }
        }
        if !(1..=10_080).contains(&retention.sent_minutes) {
            return Err(invalid("retention.sent_minutes must be 1 to 10080".into()));
        }
        if !(1..=65_536).contains(&config.storage.cache_mib) {
            return Err(invalid("storage.cache_mib must be 1 to 65536".into()));
        }
        Ok(config)
    }

    /// True if an account's proxy may be at a private or loopback address.
    pub fn allow_private_proxies(&self) -> bool {
        self.network.allow_private_proxies.unwrap_or(self.network.kind == NetworkKind::Sandbox)
    }

    /// URL to ask for the client version; `None` where the version is set, and in a sandbox.
    pub fn version_source(&self) -> Option<String> {
        let default = (self.network.kind == NetworkKind::Whatsapp).then(|| VERSION_URL.to_owned());
        self.network.version_url.clone().or(default).filter(|_| self.network.client_version.is_none())
    }

    pub fn url(&self) -> &str {
        self.network.url.as_deref().unwrap_or(match self.network.kind {
            NetworkKind::Whatsapp => WHATSAPP_URL,
            NetworkKind::Sandbox => SANDBOX_URL,
        })
    }

    /// The filter of log lines. A bare level applies to Wharf; dependencies log warnings at most.
    pub fn log_filter(&self) -> String {
        match self.log.as_str() {
            level @ ("info" | "debug" | "trace") => format!("warn,wharf={level}"),
            other => other.to_owned(),
        }
    }

    /// Path of the master key: outside the data folder, so that a copy of the folder alone cannot be read.
    pub fn master_key_file(&self) -> String {
        let beside = || format!("{}.key", self.data.trim_end_matches('/'));
        self.storage.master_key_file.clone().unwrap_or_else(beside)
    }

    pub fn mark_file(&self) -> String {
        let beside = || format!("{}.mark", self.data.trim_end_matches('/'));
        self.storage.mark_file.clone().unwrap_or_else(beside)
    }

    /// The certificate root; `None` for a sandbox that is asked for its root.
    pub fn root_key(&self) -> Result<Option<PublicKey>, ConfigError> {
        let text = match (&self.network.root_key, self.network.kind) {
            (Some(text), _) => text,
            (None, NetworkKind::Whatsapp) => WHATSAPP_ROOT,
            (None, NetworkKind::Sandbox) => return Ok(None),
        };
        parse_root_key(text).map(Some)
    }

    pub fn client_version(&self) -> Result<ClientVersion, ConfigError> {
        let Some(text) = &self.network.client_version else { return Ok(ClientVersion::DEFAULT) };
        let parts: Vec<u32> = text.split('.').filter_map(|part| part.parse().ok()).collect();
        match parts[..] {
            [a, b, c] if text.split('.').count() == 3 => Ok(ClientVersion(a, b, c)),
            _ => Err(ConfigError::Invalid(format!("network.client_version: expected A.B.C, not {text:?}"))),
        }
    }

    pub fn allow_private_webhooks(&self) -> bool {
        self.webhooks.allow_private.unwrap_or(self.network.kind == NetworkKind::Sandbox)
    }
}

/// A scheme, a host and a port, exactly as a browser sends them in `Origin`.
fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == text)
}

/// Parses 64 hex digits.
pub fn parse_root_key(text: &str) -> Result<PublicKey, ConfigError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes)
        .map_err(|_| ConfigError::Invalid("network.root_key: expected 64 hex digits".into()))?;
    Ok(PublicKey::from_bytes(bytes))
}

/// Overrides values of `base` by those of `over`. A key that `base` lacks is unknown.
fn overlay(base: &mut Value, over: Value, path: &str) -> Result<(), ConfigError> {
    let (Value::Object(base), Value::Object(over)) = (&mut *base, &over) else {
        if base.is_object() && !over.is_null() {
            return Err(ConfigError::Invalid(format!("{path} is a section, not a value")));
        }
        if !base.is_object() {
            *base = over;
        }
        return Ok(());
    };
    for (key, value) in over {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match base.get_mut(key) {
            Some(slot) => overlay(slot, value.clone(), &full)?,
            None => {
                let known = base.keys().min_by_key(|known| strsim::damerau_levenshtein(known, key));
                let nearest = known.map(|known| match path {
                    "" => known.clone(),
                    _ => format!("{path}.{known}"),
                });
                return Err(ConfigError::Unknown { key: full, nearest: nearest.unwrap_or_default() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn commented_file_equals_the_defaults() {
        assert_eq!(Config::parse(include_str!("../config.yaml"), []), Ok(Config::default()));
        assert_eq!(Config::parse("", []), Ok(Config::default()));
    }

    #[test]
    fn environment_overrides_the_file() {
        let vars = env(&[("WHARF__NETWORK__KIND", "sandbox"), ("WHARF__ACCOUNTS__PREKEY_BATCH", "30"), ("HOME", "/")]);
        let config = Config::parse("accounts:\n  prekey_batch: 20\n", vars).unwrap();
        assert_eq!((config.network.kind, config.accounts.prekey_batch), (NetworkKind::Sandbox, 30));
        assert!(config.allow_private_webhooks());
    }

    #[test]
    fn cors_origins_are_read_from_the_file_and_from_the_environment() {
        let origins = |text, vars| Config::parse(text, vars).unwrap().http.cors_origins;
        assert_eq!(
            origins("http:\n  cors_origins: ['https://bots.example:8443']\n", vec![]),
            ["https://bots.example:8443"]
        );
        assert_eq!(origins("", env(&[("WHARF__HTTP__CORS_ORIGINS", r#"["*"]"#)])), ["*"]);
    }

    #[test]
    fn unknown_key_is_named_with_the_nearest_known_one() {
        let error = Config::parse("network:\n  roots_key: x\n", []).unwrap_err();
        assert_eq!(error.to_string(), "unknown setting network.roots_key; did you mean network.root_key?");
        let error = Config::parse("", env(&[("WHARF__LISTN", "x")])).unwrap_err();
        assert_eq!(error.to_string(), "unknown setting listn; did you mean listen?");
    }

    #[test]
    fn bare_log_level_does_not_raise_that_of_dependencies() {
        let filter = |log: &str| Config { log: log.to_owned(), ..Config::default() }.log_filter();
        assert_eq!(filter("debug"), "warn,wharf=debug");
        assert_eq!(filter("error"), "error");
        assert_eq!(filter("wharf=debug,info"), "wharf=debug,info");
    }

    #[test]
    fn unusable_values_are_rejected() {
        for text in [
            "network:\n  root_key: abc\n",
            "network:\n  client_version: latest\n",
            "network:\n  kind: other\n",
            "network: 5\n",
            "log_format: xml\n",
            "accounts:\n  prekey_batch: 0\n",
            "storage:\n  cache_mib: 0\n",
            "retention:\n  events_days: 0\n",
            "storage:\n  master_key_file: ./data/master.key\n",
            "storage:\n  master_key_file: data/master.key\n",
            "http:\n  cors_origins: https://bots.example\n",
            "http:\n  cors_origins: [bots.example]\n",
            "http:\n  cors_origins: ['https://bots.example/']\n",
            "http:\n  cors_origins: ['https://bots.example:443']\n",
            "a: [\n",
        ] {
            assert!(matches!(Config::parse(text, []), Err(ConfigError::Invalid(_))), "{text}");
        }
    }
}
