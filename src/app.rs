//! The whole server: an engine, the actors and the HTTP interface, put together here and nowhere else.

use crate::account::{AccountError, ConnectRate, Retention, Settings, SharedVersion};
use crate::actors::{ActorError, Disk, Failure, GroupCache, Measure, Network, SandboxRoot, Service, ServiceConfig};
use crate::base::entropy::Entropy;
use crate::base::hooks::{Hooks, NoHooks};
use crate::base::time::{Clock, SystemClock};
use crate::config::{Config, ConfigError, NetworkKind};
use crate::http::{self, Claims, Keyring, Limits, State};
use crate::key_file::{self, KeyFileError};
use crate::operate::{self, OperateError};
use crate::sandbox::serve::TlsError;
use crate::sandbox::world::WorldError;
use crate::signal::JumpLimit;
use crate::storage::{
    BackupError, Compactor, Engine, Generations, MasterKey, Records, Schedule, Sealing, StorageError, folder_size,
};
use crate::webhook::RETRY_STEPS;
use actix_web::dev::ServerHandle;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

mod sandbox;

pub use sandbox::{Sandbox, SandboxOptions, start_sandbox, start_sandbox_with};

/// Why the server cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    Actor(#[from] ActorError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Backup(BackupError),
    #[error(transparent)]
    Operate(#[from] OperateError),
    #[error("cannot listen on {address}: {why}")]
    Listen { address: String, why: std::io::Error },
    #[error("the sandbox at {url} does not tell its root key: {why}; is `wharf sandbox` running?")]
    RootKey { url: String, why: String },
    #[error(transparent)]
    World(#[from] WorldError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the sandbox's folder {path} cannot be used: {why}")]
    SandboxFolder { path: String, why: std::io::Error },
    #[error("the operating system gives no randomness: {0}")]
    Entropy(#[from] rand::rngs::SysError),
    #[error("the thread of {what} cannot be started: {why}")]
    Thread { what: &'static str, why: std::io::Error },
}

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    /// Shown once: the admin key that this first start has made.
    pub new_admin_key: Option<String>,
    service: Service,
    server: ServerHandle,
    /// How long accounts may take to finish what they have accepted.
    drain: Duration,
    _compactor: Option<Compactor>,
}

impl Running {
    /// Resolves when the server cannot continue: the process ends, and its supervisor restarts it.
    pub async fn failed(&self) -> Failure {
        self.service.failed().await
    }

    /// Stops accepting, finishes what is under way, writes, and returns.
    pub async fn stop(self) -> Result<(), AppError> {
        self.server.stop(true).await;
        Ok(self.service.shut_down(self.drain).await?)
    }
}

/// What a server is started with besides its settings.
pub struct Parts {
    /// `None` opens the data folder of the settings.
    pub engine: Option<Arc<dyn Engine>>,
    pub admin_key: Option<String>,
    /// `None` reads the key file of the settings, and makes one for a new data folder.
    pub master_key: Option<MasterKey>,
    pub hooks: Arc<dyn Hooks>,
    pub clock: Arc<dyn Clock>,
    /// The waits between attempts of a webhook delivery.
    pub retry_steps: Vec<Duration>,
    /// `None` asks the file system of the data folder.
    pub free_space: Option<Measure>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            engine: None,
            admin_key: None,
            master_key: None,
            hooks: Arc::new(NoHooks),
            clock: Arc::new(SystemClock::start()),
            retry_steps: RETRY_STEPS.to_vec(),
            free_space: None,
        }
    }
}

/// Starts a server. Must run inside an actix system.
pub async fn start(config: &Config, parts: Parts) -> Result<Running, AppError> {
    // reqwest asks the process for its TLS provider; that one is installed already is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let entropy = Arc::new(Entropy::from_system()?);
    let disk = Disk {
        free_space: parts.free_space.unwrap_or_else(|| free_space_of(&config.data)),
        store_size: size_of(&config.data),
        keep_free: config.storage.keep_free_mib * 1024 * 1024,
    };
    let (engine, compactor) = match parts.engine {
        Some(engine) => (engine, None),
        None => {
            let store = operate::open_engine(config)?;
            let compactor = compactor(config, Arc::clone(store.store().store()), &disk)?;
            (Arc::new(store) as Arc<dyn Engine>, compactor)
        }
    };
    let sealing = match (config.storage.seal, parts.master_key) {
        (false, _) => None,
        (true, Some(key)) => Some(Sealing::new(key, entropy.fork())),
        (true, None) => Some(Sealing::new(key_file::open(config, &*engine, &mut entropy.fork())?, entropy.fork())),
    };
    operate::check_restored(&*engine, config)?;
    let records = Records::open(engine, sealing)?;
    operate::migrate_records(config, &records, parts.clock.now())?;
    let (listener, address) = listen(&config.listen)?;
    let (root_key, sandbox_root) = match config.root_key()? {
        Some(key) => (key, None),
        None => {
            let root = SandboxRoot::new(config.url(), &extra_roots(config)?)?;
            (sandbox::query_root(&root, config.url()).await?, Some(Arc::new(root)))
        }
    };
    let mut service = Service::start(ServiceConfig {
        records,
        network: Network::new(config.url(), extra_roots(config)?, config.allow_private_proxies())?
            .with_sandbox_root(sandbox_root),
        settings: Settings {
            root_key,
            version: Arc::new(SharedVersion::new(config.client_version()?)),
            device_name: config.accounts.device_name.clone(),
            prekey_batch: config.accounts.prekey_batch,
            jump_limit: JumpLimit::new(config.accounts.forward_jumps),
            jump_limit_own: JumpLimit::new(config.accounts.forward_jumps_own),
            reject_calls: config.accounts.reject_calls,
            connect_rate: Arc::new(ConnectRate::new(config.network.connects_per_second)),
            retention: Retention {
                messages: days(config.retention.messages_days),
                inbox: days(config.retention.inbox_days),
                sent: Duration::from_secs(config.retention.sent_minutes * 60),
            },
        },
        version_source: config.version_source(),
        allow_private_webhooks: config.allow_private_webhooks(),
        clock: parts.clock,
        entropy,
        hooks: parts.hooks,
        retry_steps: parts.retry_steps,
        arbiters: config.accounts.threads,
        disk,
        patience: Duration::from_secs(config.accounts.stuck_seconds),
        rest_after: Duration::from_secs(config.accounts.rest_seconds),
        group_cache: GroupCache {
            groups: config.accounts.cached_groups,
            idle: Duration::from_secs(config.accounts.cached_groups_seconds),
        },
        keep_events: days(config.retention.events_days),
    })?;
    service.prepare().await?;
    let (keys, new_admin_key) = Keyring::open(&service, parts.admin_key).await?;
    let limits = Limits {
        body: Duration::from_secs(config.http.body_seconds),
        connections: config.http.connections_per_address,
    };
    let public_url = config.http.public_url.clone();
    let state = State { service: service.clone(), keys, limits, public_url, claims: Claims::default() };
    let server = http::serve(listener, state, &config.http.cors_origins)
        .map_err(|why| AppError::Listen { address: config.listen.clone(), why })?;
    let handle = server.handle();
    actix_web::rt::spawn(server);
    if config.network.kind == NetworkKind::Whatsapp {
        tracing::warn!("Wharf is unofficial: WhatsApp may restrict or ban accounts that use it");
    }
    let drain = Duration::from_secs(config.drain_seconds);
    Ok(Running { address, new_admin_key, service, server: handle, drain, _compactor: compactor })
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

fn compactor(config: &Config, store: Arc<Generations>, disk: &Disk) -> Result<Option<Compactor>, AppError> {
    let every = Duration::from_secs(config.storage.compact_seconds);
    if every.is_zero() {
        return Ok(None);
    }
    let schedule = Schedule { every, from: config.storage.compact_from_mib * 1024 * 1024 };
    let (free_space, keep_free) = (disk.free_space.clone(), disk.keep_free);
    // A copy must not bring the disk to where sends are refused.
    let free = move || free_space().map(|free| free.saturating_sub(keep_free));
    let started = Compactor::start(store, schedule, Arc::new(free));
    Ok(Some(started.map_err(|why| AppError::Thread { what: "compaction", why })?))
}

fn size_of(data: &str) -> Measure {
    let data = data.to_owned();
    Arc::new(move || folder_size(Path::new(&data)).ok())
}

fn free_space_of(data: &str) -> Measure {
    let data = data.to_owned();
    Arc::new(move || {
        let disk = rustix::fs::statvfs(&data).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    })
}

fn listen(address: &str) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |why| AppError::Listen { address: address.to_owned(), why };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The DER certificates of `network.ca_file`.
fn extra_roots(config: &Config) -> Result<Vec<Vec<u8>>, AppError> {
    let Some(path) = &config.network.ca_file else { return Ok(Vec::new()) };
    let invalid = |why: String| ConfigError::Invalid(format!("network.ca_file {path}: {why}"));
    let pem = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).map(|certificate| Ok(certificate?.to_vec()));
    let certificates: Result<Vec<Vec<u8>>, pem::Error> = certificates.collect();
    match certificates {
        Ok(found) if found.is_empty() => Err(invalid("it holds no PEM certificate".to_owned()).into()),
        Ok(found) => Ok(found),
        Err(error) => Err(invalid(format!("it holds an unreadable PEM certificate: {error}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots_of(pem: &str) -> Result<Vec<Vec<u8>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        let mut config = Config::default();
        config.network.ca_file = Some(path.display().to_string());
        extra_roots(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn every_certificate_of_a_ca_file_is_read_and_other_sections_are_skipped() {
        let section = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let pem = [section("CERTIFICATE", "AQID"), section("PRIVATE KEY", "AAAA"), section("CERTIFICATE", "BAUG")];
        assert_eq!(roots_of(&pem.concat()), Ok(vec![vec![1, 2, 3], vec![4, 5, 6]]));
    }

    #[test]
    fn ca_file_without_a_readable_certificate_is_refused() {
        for (pem, said) in [
            ("", "holds no PEM certificate"),
            ("just text\n", "holds no PEM certificate"),
            ("-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n", "unreadable PEM certificate"),
            ("-----BEGIN CERTIFICATE-----\nAQID\n", "unreadable PEM certificate"),
        ] {
            let error = roots_of(pem).unwrap_err();
            assert!(error.contains("network.ca_file") && error.contains(said), "{pem:?}: {error}");
        }
    }
}
