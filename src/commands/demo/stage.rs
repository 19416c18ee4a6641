//! Runs the simulator and a receiver in one process. The simulator calls the receiver back over
//! HTTPS. This needs nothing that exists before, and leaves nothing behind, unless `--data-dir` is
//! given.

use std::fs::{self, DirBuilder};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::app::App;
use crate::clock::Clock;
use crate::commands::api::Api;
use crate::config::{ByteSize, Config, Network, TlsMode};
use crate::exit::CommandError;
use crate::http::tls::TlsSource;
use crate::simulator::{Options, Simulator};

/// The delay from a task's submit to its first poll.
const FIRST_POLL_AFTER: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The address in the receiver's certificate.
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The running components.
pub struct Stage {
    pub api: Api,
    pub simulator: Simulator,
    stop: CancellationToken,
    folder: Folder,
}

/// The receiver's future, which returns how it ended.
pub type Receiver = JoinHandle<Result<(), CommandError>>;

impl Stage {
    /// Starts everything. The data is in `folder`, or in a temporary folder that is removed at the
    /// end.
    pub async fn start(folder: Option<&Path>) -> Result<(Self, Receiver), CommandError> {
        let folder = Folder::open(folder)?;
        let certificate =
            TlsSource::self_signed_in(folder.path(), &[HOST.to_string()], Clock::System)
                .context("could not make a certificate")?;
        let simulator = Simulator::start(Options {
            allow_private_callbacks: true,
            callback_ca_pem: Some(certificate.certificate_pem().into_bytes()),
            // An estimate longer than the first poll's own delay would postpone that poll.
            estimated_time_s: 1,
            ..Options::default()
        })
        .await?;
        let config = config(folder.path(), &simulator)?;
        let app = App::build(config, Clock::System).await?;
        let internal = app
            .internal_address()
            .context("could not tell the internal listener's address")?;
        let api = Api::new(local_url("http", internal.port())?.into(), None)?;
        let stop = CancellationToken::new();
        let receiver = TaskTracker::new().spawn(app.run(stop.clone()));
        let stage = Self {
            api,
            simulator,
            stop,
            folder,
        };
        Ok((stage, receiver))
    }

    /// Returns the data folder if it outlives the demo.
    pub fn kept_folder(&self) -> Option<&Path> {
        match &self.folder {
            Folder::Given(path) => Some(path),
            Folder::Own(_) => None,
        }
    }

    /// Stops the receiver as SIGTERM would, and then the simulator.
    pub async fn shut_down(self, receiver: Receiver) -> Result<(), CommandError> {
        self.stop.cancel();
        let ended = receiver.await.context("the receiver died")?;
        self.simulator.shutdown().await;
        ended
    }
}

fn config(folder: &Path, simulator: &Simulator) -> Result<Config, CommandError> {
    let mut config = Config::default();
    // Every callback URL contains the port, so it must be known before the receiver binds it.
    let public_port = free_port().context("could not find a free port")?;
    config.public.listen = SocketAddr::from((HOST, public_port));
    config.public.base_url = local_url("https", public_port)?;
    config.public.tls.mode = TlsMode::SelfSigned;
    folder.clone_into(&mut config.public.tls.self_signed_dir);
    config.internal.listen = SocketAddr::from((HOST, 0));
    config.evolink.base_url =
        Url::parse(&simulator.base_url()).context("the simulator's address makes no URL")?;
    // The simulator accepts any key.
    config.evolink.api_key = Some(SecretString::from("sk-any-key-for-the-simulator"));
    config.store.url = format!("sqlite:{}", folder.join("receiver.db").display());
    config.callback_tokens.key_file = folder.join("callback_tokens.key");
    config.reconcile.first_poll_after = FIRST_POLL_AFTER;
    config.reconcile.interval_min = POLL_INTERVAL;
    config.archive.url = format!("file:{}", folder.join("results").display());
    // The simulator's files are on this machine.
    config.archive.allow_networks = vec![Network::loopback()];
    config.archive.min_free = ByteSize::bytes(0);
    config.forward.secret_file = folder.join("forward.whsec");
    Ok(config)
}

fn local_url(scheme: &str, port: u16) -> Result<Url, CommandError> {
    let url = format!("{scheme}://{}", SocketAddr::from((HOST, port)));
    Ok(Url::parse(&url).context("a local address makes no URL")?)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((HOST, 0))?.local_addr()?.port())
}

/// The folder in which the configuration's default paths are.
const DATA: &str = "data";

/// The folder for the data.
enum Folder {
    Given(PathBuf),
    /// Removed when dropped.
    Own(PathBuf),
}

impl Folder {
    fn open(given: Option<&Path>) -> Result<Self, CommandError> {
        if let Some(path) = given {
            let made = fs::create_dir_all(path);
            made.with_context(|| format!("--data-dir: could not make {}", path.display()))?;
            return Ok(Self::Given(path.to_owned()));
        }
        let name = format!("evolink-receiver-demo-{:016x}", fastrand::u64(..));
        // Fails if the folder exists, because it may be another user's.
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        let path = std::env::temp_dir().join(&name);
        let Err(error) = make(&path) else {
            return Ok(Self::Own(path));
        };
        // The container image has no folder for temporary files, but it has the data folder.
        let in_data = Path::new(DATA).join(&name);
        if make(&in_data).is_ok() {
            return Ok(Self::Own(in_data));
        }
        Err(error).with_context(|| format!("could not make {}", path.display()))?
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) | Self::Own(path) => path,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Self::Own(path) = self {
            // If this fails, the folder is left among temporary files, or goes with the container.
            let _ = fs::remove_dir_all(path);
        }
    }
}
