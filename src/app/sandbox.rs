//! The sandbox network as a process runs it: world, sockets, media host, storage.

use super::{AppError, listen};
use crate::actors::SandboxRoot;
use crate::base::entropy::Entropy;
use crate::base::time::{Clock, SystemClock};
use crate::sandbox::serve::{Authority, WorldHost, serve, serve_media};
use crate::sandbox::world::World;
use crate::signal::PublicKey;
use crate::storage::{Engine, SledEngine};
use actix_web::dev::ServerHandle;
use rand::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of the store's cache: a sandbox stores little.
const CACHE: u64 = 16 * 1024 * 1024;

const ROOT_QUERIES: u32 = 20;
const ROOT_QUERY_INTERVAL: Duration = Duration::from_millis(250);

/// Options of a sandbox.
#[derive(Debug, Clone, Default)]
pub struct SandboxOptions {
    pub listen: String,
    /// Listen address of the media host; without it there is none.
    pub media: Option<String>,
    /// The data folder; without it the network is in memory.
    pub data: Option<PathBuf>,
    /// Whether clients and the control API are served over TLS.
    pub tls: bool,
}

/// A running sandbox.
pub struct Sandbox {
    pub address: SocketAddr,
    pub media: Option<SocketAddr>,
    /// The network itself, for callers in the same process.
    pub world: WorldHost,
    tls: bool,
    servers: Vec<ServerHandle>,
}

impl Sandbox {
    pub fn ws_url(&self) -> String {
        format!("{}://{}/ws/chat", if self.tls { "wss" } else { "ws" }, self.address)
    }

    pub fn control_url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    pub async fn stop(self) {
        for server in self.servers {
            server.stop(false).await;
        }
    }
}

/// Starts a sandbox network in memory, without a media host. Must run inside an actix system.
pub fn start_sandbox(address: &str) -> Result<Sandbox, AppError> {
    start_sandbox_with(&SandboxOptions { listen: address.to_owned(), ..SandboxOptions::default() })
}

/// Starts a sandbox network. Must run inside an actix system.
pub fn start_sandbox_with(options: &SandboxOptions) -> Result<Sandbox, AppError> {
    let clock = Arc::new(SystemClock::start());
    let seed = Entropy::from_system()?.fork().next_u64();
    let (listener, address) = listen(&options.listen)?;
    let failed = |address: &str, why| AppError::Listen { address: address.to_owned(), why };

    let store = options.data.as_deref().map(open_store).transpose()?;
    let mut world = match &store {
        Some(store) => World::restore(read_rows(store)?, seed, clock.now())?,
        None => World::new(seed, clock.now()),
    };
    let media = options.media.as_deref().map(listen).transpose()?;
    if let Some((_, media)) = &media {
        world.set_media_host(media.to_string());
    }
    let authority = match options.tls || media.is_some() {
        true => Some(Arc::new(authority(options.data.as_deref())?)),
        false => None,
    };
    let world = WorldHost::start(world, clock, store.map(|store| Arc::new(store) as _));

    let mut servers = Vec::new();
    let tls = authority.as_ref().filter(|_| options.tls).map(|it| it.server_config(address.ip())).transpose()?;
    let server = serve(listener, world.clone(), authority.clone(), tls);
    let server = server.map_err(|why| failed(&options.listen, why))?;
    servers.push(server.handle());
    actix_web::rt::spawn(server);
    let mut media_address = None;
    if let (Some((listener, bound)), Some(authority)) = (media, &authority) {
        let server = serve_media(listener, world.clone(), authority.server_config(bound.ip())?);
        let server = server.map_err(|why| failed(&bound.to_string(), why))?;
        servers.push(server.handle());
        actix_web::rt::spawn(server);
        media_address = Some(bound);
    }
    Ok(Sandbox { address, media: media_address, world, tls: options.tls, servers })
}

/// Queries the certificate root of a sandbox that may have been started at the same moment.
pub(super) async fn query_root(root: &SandboxRoot, url: &str) -> Result<PublicKey, AppError> {
    let mut last = String::new();
    for _ in 0..ROOT_QUERIES {
        match root.query().await {
            Ok(key) => return Ok(key),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(ROOT_QUERY_INTERVAL).await;
    }
    Err(AppError::RootKey { url: url.to_owned(), why: last })
}

fn open_store(folder: &Path) -> Result<SledEngine, AppError> {
    Ok(SledEngine::open(&folder.join("world"), CACHE)?)
}

fn read_rows(store: &SledEngine) -> Result<BTreeMap<String, Vec<u8>>, AppError> {
    let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
    Ok(store.copy(&[])?.into_iter().map(|(key, value)| (text(key), value)).collect())
}

/// The authority of this folder; without a folder, one for this run.
fn authority(folder: Option<&Path>) -> Result<Authority, AppError> {
    let Some(folder) = folder else { return Ok(Authority::generate()?) };
    let path = folder.join("ca.key");
    let failed = |why| AppError::SandboxFolder { path: path.display().to_string(), why };
    match fs::read_to_string(&path) {
        Ok(key) => Ok(Authority::from_pem(&key)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let authority = Authority::generate()?;
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
            file.write_all(authority.key_pem().as_bytes()).map_err(failed)?;
            fs::write(folder.join("ca.pem"), authority.pem()).map_err(failed)?;
            Ok(authority)
        }
        Err(error) => Err(failed(error)),
    }
}
