//! The command line (`api.md`).

use crate::actors::Failure;
use crate::app::{self, AppError, Parts, SandboxOptions};
use crate::base::hooks::Hooks;
use crate::base::ids::{AccountId, IdError};
use crate::base::time::{Clock, SystemClock, Timestamp};
use crate::config::{Config, ConfigError, LogFormat};
use crate::demo::{self, DemoError};
use crate::operate;
use crate::storage::{MasterKey, StorageError};
mod probe;
mod tools;

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(version, about = "A multi-account WhatsApp bot server", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server. Without a config file every default works.
    Serve {
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Run the sandbox network: a service and phones to test against.
    Sandbox {
        /// For clients and the control API.
        #[arg(long, default_value = "127.0.0.1:7070")]
        listen: String,
        /// For the media host, which is always HTTPS; its authority is at GET /media-ca.
        #[arg(long, default_value = "127.0.0.1:7443")]
        media: String,
        /// Keep the network in this folder; without it everything is forgotten at exit.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Serve clients and the control API over TLS, by the media host's authority.
        #[arg(long)]
        tls: bool,
    },
    /// Sandbox, server, two linked accounts and an echo bot in one process; prints the conversation as it happens.
    Demo {
        /// One round trip, then exit.
        #[arg(long)]
        once: bool,
    },
    /// Rotation of the keys that seal the data on disk.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Check that a running server is ready to accept messages.
    Health(probe::Health),
    /// Try a running server with its sandbox: link an account, send a message each way, erase the account.
    RoundTrip(probe::RoundTrip),
    /// Back up the data of a stopped server, or of a running one, into a new file; in a folder it is named by the time.
    Backup {
        file: PathBuf,
        /// Delete the oldest backups of the folder, and keep so many. A folder that is not there is made.
        #[arg(long, conflicts_with = "verify")]
        keep: Option<usize>,
        /// This account only.
        #[arg(long)]
        account: Option<String>,
        /// A running server, such as http://127.0.0.1:8080; its admin key is taken from WHARF_ADMIN_KEY.
        #[arg(long)]
        server: Option<String>,
        /// Back up nothing: check that the file is complete.
        #[arg(long, conflicts_with_all = ["account", "server"])]
        verify: bool,
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Restore a backup with the server stopped: into a new data folder, or one account into an existing one.
    Restore {
        file: PathBuf,
        /// This account only, into the data that are there.
        #[arg(long)]
        account: Option<String>,
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Bring the data to the newest format, with the server stopped. A backup is made first. (A server does so when it starts.)
    Migrate {
        /// Change nothing: list the steps.
        #[arg(long)]
        plan: bool,
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Operations on the whole store, with the server stopped.
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Check the settings.
    CheckConfig {
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum StorageCommand {
    /// Rewrite the store without the space of overwritten data.
    Compact {
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Go on with a store that has lost commits: sessions are set up again, as after a restore.
    AcceptLoss {
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Copy the store into a new folder.
    Copy {
        to: PathBuf,
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Rotate the data keys and reseal all data: with the server stopped, or by a running one in the background.
    RotateData {
        /// A running server, such as http://127.0.0.1:8080; its admin key is taken from WHARF_ADMIN_KEY.
        #[arg(long)]
        server: Option<String>,
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Rotate the master key with the server stopped: rewraps the data keys; the data stay as they are.
    Rotate {
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// The error of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the demo stopped: {0}")]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("WHARF_MASTER_KEY must be 64 hex digits")]
    MasterKey,
    #[error(transparent)]
    Account(#[from] IdError),
    #[error(
        "a server uses these data; have it make the backup: --server http://{0}, with its admin key in WHARF_ADMIN_KEY"
    )]
    ServerRuns(String),
    #[error("{path} is no folder for backups: {why}", path = path.display())]
    Folder { path: PathBuf, why: std::io::Error },
    #[error("{server}: {why}")]
    Server { server: String, why: String },
    #[error("signals cannot be handled: {0}")]
    Signal(std::io::Error),
}

/// Runs the command line, a server with these hooks. Must run inside an actix system.
pub async fn run(hooks: Arc<dyn Hooks>) -> Result<(), CliError> {
    match Cli::parse().command {
        Command::Serve { config } => serve(config.as_deref(), hooks).await,
        Command::Sandbox { listen, media, data, tls } => {
            sandbox(&SandboxOptions { listen, media: Some(media), data, tls }).await
        }
        Command::Demo { once } => {
            log_to_stderr("error", LogFormat::Pretty);
            Ok(demo::run(once, &mut demo::print, &mut |_| {}).await?)
        }
        Command::Key(KeyCommand::Rotate { config }) => {
            let config = load(config)?;
            let given = master_key()?;
            let from_environment = given.is_some();
            let (count, old) = operate::rotate_master_key(&config, given)?;
            println!("{count} data keys are wrapped under the new master key in {}", config.master_key_file());
            println!("the old key is kept in {old}; destroy it once no backup needs it");
            if from_environment {
                println!("WHARF_MASTER_KEY still holds the old key: give it the new one, or unset it");
            }
            Ok(())
        }
        Command::Key(KeyCommand::RotateData { server, config }) => {
            match server {
                Some(server) => {
                    tools::ask(&server, reqwest::Method::POST, "/v1/admin/keys/rotate-data", &[]).await?;
                    println!("the server replaces its data keys in the background; its log says when it is done");
                }
                None => {
                    let count = operate::rotate_data_keys(&load(config)?, master_key()?)?;
                    println!("{count} data keys were replaced, and every record was sealed again");
                }
            }
            Ok(())
        }
        Command::Health(health) => probe::health(&health).await,
        Command::RoundTrip(at) => probe::round_trip(&at).await,
        Command::Backup { file, keep, account, server, verify, config } => {
            if keep.is_some() {
                tools::make_folder(&file)?;
            }
            let file = if verify { file } else { tools::file_for(file, now()) };
            let account = account.as_deref().map(AccountId::parse).transpose()?;
            if !verify {
                match server {
                    Some(server) => tools::backup_from(&server, account.as_ref(), &file).await?,
                    None => {
                        let config = load(config)?;
                        let made = operate::backup(&config, master_key()?, account.as_ref(), &file, now());
                        made.map_err(|error| match error {
                            AppError::Storage(StorageError::Locked { .. }) => CliError::ServerRuns(config.listen),
                            other => other.into(),
                        })?;
                    }
                }
            }
            let (manifest, extent) = operate::verify(&file)?;
            println!("{}: {}", file.display(), tools::describe(&manifest, extent));
            keep.map_or(Ok(()), |keep| tools::keep_newest(&file, keep))
        }
        Command::Restore { file, account, config } => {
            let account = account.as_deref().map(AccountId::parse).transpose()?;
            let config = load(config)?;
            let restored = operate::restore(&config, master_key()?, account.as_ref(), &file, now())?;
            println!("{} rows restored into {}; {}", restored.rows, config.data, tools::AFTER_RESTORE);
            Ok(())
        }
        Command::Migrate { plan, config } => {
            let config = load(config)?;
            let steps = operate::plan_migration(&config, master_key()?)?;
            if steps.is_empty() {
                println!("the data are of the newest format; there is nothing to do");
            }
            for step in &steps {
                println!("{} (to format {}): {}; {} rows", step.name, step.to, step.what, step.rows);
            }
            if !plan && let Some(backup) = operate::migrate_data(&config, master_key()?, now())? {
                println!("done; what was there before is in {}", backup.display());
            }
            Ok(())
        }
        Command::Storage(StorageCommand::Compact { config }) => {
            let (before, after) = operate::compact(&load(config)?)?;
            println!("{before} bytes before, {after} after");
            Ok(())
        }
        Command::Storage(StorageCommand::AcceptLoss { config }) => {
            let (accounts, sessions) = operate::accept_loss(&load(config)?, master_key()?, now())?;
            println!("{accounts} accounts go on, {sessions} of their sessions read only; {}", tools::AFTER_RESTORE);
            Ok(())
        }
        Command::Storage(StorageCommand::Copy { to, config }) => {
            let rows = operate::copy_store(&load(config)?, &to)?;
            println!("{rows} rows copied to {}", to.display());
            Ok(())
        }
        Command::CheckConfig { config } => {
            Config::load(config.as_deref(), std::env::vars())?;
            println!("the settings are usable");
            Ok(())
        }
    }
}

async fn serve(path: Option<&Path>, hooks: Arc<dyn Hooks>) -> Result<(), CliError> {
    let config = Config::load(path, std::env::vars())?;
    log_as(&config);
    let admin_key = std::env::var("WHARF_ADMIN_KEY").ok();
    let running =
        app::start(&config, Parts { admin_key, master_key: master_key()?, hooks, ..Parts::default() }).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        network = config.network.kind.as_str(),
        url = config.url(),
        data = config.data,
        listen = %running.address,
        seal = config.storage.seal,
        "server started"
    );
    println!("wharf listens on http://{}", running.address);
    if let Some(key) = &running.new_admin_key {
        println!("admin key, shown only now: {key}");
    }
    tokio::select! {
        signal = stop_signal() => signal?,
        failure = running.failed() => return Err(failure.into()),
    }
    tracing::info!("server stopping");
    println!("stopping");
    // A second signal ends at once: acknowledged work is durable already.
    tokio::select! {
        stopped = running.stop() => stopped?,
        second = stop_signal() => second?,
    }
    Ok(())
}

/// Loads the settings of a command, and starts logging by them.
fn load(path: Option<PathBuf>) -> Result<Config, ConfigError> {
    let config = Config::load(path.as_deref(), std::env::vars())?;
    log_as(&config);
    Ok(config)
}

fn now() -> Timestamp {
    SystemClock::start().now()
}

/// The master key of the environment, which overrides the file.
fn master_key() -> Result<Option<MasterKey>, CliError> {
    match std::env::var("WHARF_MASTER_KEY").map(zeroize::Zeroizing::new) {
        Err(_) => Ok(None),
        Ok(text) => MasterKey::parse(&text).map(Some).ok_or(CliError::MasterKey),
    }
}

async fn sandbox(options: &SandboxOptions) -> Result<(), CliError> {
    log_to_stderr("warn,wharf=info", LogFormat::Pretty);
    let sandbox = app::start_sandbox_with(options)?;
    println!("sandbox: clients connect to {}, control API on {}", sandbox.ws_url(), sandbox.control_url());
    if let Some(media) = sandbox.media {
        println!("sandbox: media host on https://{media}");
    }
    stop_signal().await?;
    sandbox.stop().await;
    Ok(())
}

async fn stop_signal() -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Signal)?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(CliError::Signal)?,
    }
    Ok(())
}

/// Starts logging by the settings. `RUST_LOG` overrides their filter.
fn log_as(config: &Config) {
    log_to_stderr(&config.log_filter(), config.log_format);
}

fn log_to_stderr(default: &str, format: LogFormat) {
    let filter = EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let ansi = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr);
    // A second subscriber, as in tests, leaves the first one in place.
    let _ = match format {
        LogFormat::Pretty => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
