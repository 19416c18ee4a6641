//! Everything in one process: the simulator, and a receiver that EvoLink's stand-in can call back over HTTPS. Nothing has to
//! be there before, and nothing is left behind, unless a folder was named.

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
use crate::config::{Config, TlsMode};
use crate::exit::CommandError;
use crate::http::tls::TlsSource;
use crate::simulator::{Options, Simulator};

/// A task is asked about this long after its submit.
const FIRST_POLL_AFTER: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The address that the receiver's certificate is for.
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The running parts.
pub struct Stage {
    pub api: Api,
    pub simulator: Simulator,
    stop: CancellationToken,
    folder: Folder,
}

/// How the receiver ended.
pub type Receiver = JoinHandle<Result<(), CommandError>>;

impl Stage {
    /// Starts everything, with data in `folder`, or in one of its own that is removed at the end.
    pub async fn set(folder: Option<&Path>) -> Result<(Self, Receiver), CommandError> {
        let folder = Folder::open(folder)?;
        let certificate =
            TlsSource::self_signed_in(folder.path(), &[HOST.to_string()], Clock::System)
                .context("could not make a certificate")?;
        let simulator = Simulator::start(Options {
            allow_private_callbacks: true,
            callback_ca_pem: Some(certificate.certificate_pem().into_bytes()),
            // Beyond the first poll's own delay it would put that off.
            estimated_time_s: 1,
            ..Options::default()
        })
        .await?;
        let config = config(folder.path(), &simulator)?;
        let app = App::build(config, Clock::System).await?;
        let internal = app
            .internal_address()
            .context("could not tell the internal listener's address")?;
        let api = Api::new(local_url("http", internal.port())?, None)?;
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

    /// The folder, if it outlives the demo.
    pub fn kept_folder(&self) -> Option<&Path> {
        match &self.folder {
            Folder::Given(path) => Some(path),
            Folder::Own(_) => None,
        }
    }

    /// Stops as SIGTERM would.
    pub async fn strike(self, receiver: Receiver) -> Result<(), CommandError> {
        self.stop.cancel();
        let ended = receiver.await.context("the receiver died")?;
        self.simulator.shutdown().await;
        ended
    }
}

fn config(folder: &Path, simulator: &Simulator) -> Result<Config, CommandError> {
    let mut config = Config::default();
    // It is in every callback URL, so it must be known before the receiver has it.
    let public_port = free_port().context("could not find a free port")?;
    config.public.listen = SocketAddr::from((HOST, public_port));
    config.public.base_url = local_url("https", public_port)?;
    config.public.tls.mode = TlsMode::SelfSigned;
    folder.clone_into(&mut config.public.tls.self_signed_dir);
    config.internal.listen = SocketAddr::from((HOST, 0));
    config.evolink.base_url =
        Url::parse(&simulator.base_url()).context("the simulator's address makes no URL")?;
    // The simulator takes any.
    config.evolink.api_key = Some(SecretString::from("sk-any-key-for-the-simulator"));
    config.store.url = format!("sqlite:{}", folder.join("receiver.db").display());
    config.callback_tokens.key_file = folder.join("callback_tokens.key");
    config.reconcile.first_poll_after = FIRST_POLL_AFTER;
    config.reconcile.interval_min = POLL_INTERVAL;
    config.archive.url = format!("file:{}", folder.join("results").display());
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

/// The folder that the default paths of the configuration begin with.
const DATA: &str = "data";

/// Where the data is.
enum Folder {
    Given(PathBuf),
    /// Removed when it is dropped.
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
        // Fails if the folder exists: it may be another user's.
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        let path = std::env::temp_dir().join(&name);
        let Err(error) = make(&path) else {
            return Ok(Self::Own(path));
        };
        // The container image has no folder for temporary files, but the data folder.
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
            // A folder that cannot be removed is one for temporary files, or the demo's container ends.
            let _ = fs::remove_dir_all(path);
        }
    }
}
