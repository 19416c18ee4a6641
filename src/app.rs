//! The one file that knows everyone: builds all parts from a configuration, runs them, and ends them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::{Config, Level, TlsMode};
use crate::domain::callback_token::KeyRing;
use crate::domain::polling::Pace;
use crate::domain::timestamp::Timestamp;
use crate::evolink::{EvolinkClient, USER_AGENT};
use crate::exit::{CommandError, Exit};
use crate::http::auth::Gate;
use crate::http::body::BodyBudget;
use crate::http::internal::{self, InternalState};
use crate::http::limits::Limits;
use crate::http::listener;
use crate::http::public::{self, PublicState};
use crate::http::tls::TlsSource;
use crate::key_ring;
use crate::metrics::Metrics;
use crate::parts::{Parts, finish};
use crate::process;
use crate::store::recorder::{Recorder, RecorderWorker};
use crate::store::{Store, StoreError};
use crate::telemetry::CONFIGURATION;
use crate::workers::reconciler::Reconciler;

/// Certificates are looked at this often, whether or not somebody says that they changed.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(5);

/// After the listeners have drained, what submits are left get this long; EvoLink's answer to a slower one is lost, and
/// its callback adopts the task.
const SUBMITS_DRAIN: Duration = Duration::from_secs(1);

/// Bodies that may be in memory at once. Small beside a container's 256 MiB; large beside what EvoLink sends.
const PUBLIC_BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
const INTERNAL_BODIES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A process that must be started anew does not keep its clients waiting.
const FAILED_DRAIN: Duration = Duration::from_secs(1);

/// For the recorder's last batch, and for closing the store.
const WORKERS_DRAIN: Duration = Duration::from_secs(1);

/// Beyond our own deadline, the listener cuts a request off.
const REQUEST_GRACE: Duration = Duration::from_millis(500);

/// Connections that may wait to be accepted; the system may allow fewer. Past it they are dropped, or, with SYN cookies,
/// a client takes itself for connected and is not: the usual 128 did not outlast a burst (measured).
const BACKLOG: u32 = 2048;

/// A receiver that has its store, its certificate and its ports, and serves nobody yet.
pub struct App {
    config: Config,
    clock: Clock,
    store: Arc<Store>,
    recorder: Recorder,
    recorder_worker: RecorderWorker,
    evolink: Arc<EvolinkClient>,
    key_ring: Arc<KeyRing>,
    metrics: Metrics,
    tls: Option<Arc<TlsSource>>,
    public: TcpListener,
    internal: TcpListener,
    reload: Arc<Notify>,
}

impl App {
    /// Opens everything. Nothing is served before `run`.
    ///
    /// # Errors
    /// What is wrong, with the exit code for it.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, CommandError> {
        config.validate()?;
        let config = within_descriptors(config);
        for finding in config
            .findings()
            .iter()
            .filter(|finding| finding.level == Level::Warning)
        {
            warn!(target: CONFIGURATION, key = finding.key, "{}", finding.message);
        }
        let key_ring = Arc::new(key_ring::load_or_create(&config.callback_tokens.key_file)?);
        let tls = tls_source(&config)?;
        let evolink = Arc::new(EvolinkClient::new(
            config.evolink.base_url.clone(),
            config.evolink.read_api_key()?,
            config.evolink.timeout,
            USER_AGENT,
        )?);
        let store = Arc::new(Store::open(&config.store.url).await?);
        let metrics = Metrics::new();
        let (recorder, recorder_worker) = Recorder::new(
            Arc::clone(&store),
            clock.clone(),
            pace(&config),
            metrics.clone(),
        );
        let public = bind("public.listen", config.public.listen)?;
        let internal = bind("internal.listen", config.internal.listen)?;
        let reload = Arc::new(Notify::new());
        Ok(Self {
            config,
            clock,
            store,
            recorder,
            recorder_worker,
            evolink,
            key_ring,
            metrics,
            tls,
            public,
            internal,
            reload,
        })
    }

    /// Where EvoLink is listened to.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn public_address(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where apps and operators are listened to.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn internal_address(&self) -> std::io::Result<SocketAddr> {
        self.internal.local_addr()
    }

    /// What callers must trust if the certificate is our own.
    #[must_use]
    pub fn certificate_pem(&self) -> Option<String> {
        self.tls.as_ref().map(|tls| tls.certificate_pem())
    }

    #[must_use]
    pub fn key_ring(&self) -> &KeyRing {
        &self.key_ring
    }

    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// To be notified when the certificate files should be looked at now.
    #[must_use]
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Serves until `stop`, then drains: no new connections, requests under way are answered, what they brought is
    /// recorded, the store is closed.
    ///
    /// # Errors
    /// `TempFail` if the disk failed, `Unavailable` if a part ended by itself: the process should be started anew.
    pub async fn run(self, stop: CancellationToken) -> Result<(), CommandError> {
        let parts = Parts::new(&stop);
        let submits = TaskTracker::new();
        let (recorder, store) = (self.recorder.clone(), Arc::clone(&self.store));
        let drain = self.config.public.drain_timeout;
        self.start(&parts, &submits);
        info!("ready");
        let ended = tokio::select! {
            () = parts.stopping.cancelled() => Ok(()),
            () = recorder.failed().cancelled() => Err(CommandError::new(Exit::TempFail, "the disk failed")),
            () = parts.broken.cancelled() => Err(CommandError::new(Exit::Unavailable, "a part ended by itself")),
        };
        info!("stopping");
        parts.stopping.cancel();
        let drain = if ended.is_ok() {
            drain + REQUEST_GRACE
        } else {
            FAILED_DRAIN
        };
        finish("the listeners", &parts.listeners, drain).await;
        finish("submits", &submits, SUBMITS_DRAIN).await;
        parts.recorder_stop.cancel();
        finish("the workers", &parts.workers, WORKERS_DRAIN).await;
        if timeout(WORKERS_DRAIN, store.close()).await.is_err() {
            warn!("the store was not closed in time");
        }
        info!("stopped");
        ended
    }

    fn public_state(&self) -> PublicState {
        PublicState {
            recorder: self.recorder.clone(),
            key_ring: Arc::clone(&self.key_ring),
            token_lifetime: self.config.retention.tasks,
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            body_bytes_max: self.config.public.max_body.as_usize(),
            body_timeout: self.config.public.body_timeout,
            body_budget: BodyBudget::new(PUBLIC_BODIES_BYTES_MAX),
            request_timeout: self.config.public.request_timeout,
        }
    }

    fn internal_state(&self, parts: &Parts, submits: &TaskTracker) -> InternalState {
        InternalState {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            evolink: Arc::clone(&self.evolink),
            key_ring: Arc::clone(&self.key_ring),
            public: Arc::new(self.config.public.clone()),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            submits: submits.clone(),
            stopping: parts.stopping.clone(),
            allow_unknown_fields: self.config.evolink.allow_unknown_fields,
            body_budget: BodyBudget::new(INTERNAL_BODIES_BYTES_MAX),
        }
    }

    /// Starts every part: what must not be lost first, then who brings it.
    fn start(self, parts: &Parts, submits: &TaskTracker) {
        let public = public::router(&self.config.public.callback_path(), self.public_state());
        let internal = internal::router(
            self.internal_state(parts, submits),
            &Gate::new(self.config.internal.api_keys.clone()),
        );
        let recording = self.recorder_worker.run(parts.recorder_stop.clone());
        parts.run(
            "the recorder",
            &parts.workers,
            &parts.recorder_stop,
            recording,
        );
        let drain = self.config.public.drain_timeout;
        let limits = public_limits(&self.config);
        let serving = listener::serve(
            self.public,
            self.tls.clone(),
            limits,
            public,
            parts.stopping.clone(),
            drain,
        );
        parts.run(
            "the public listener",
            &parts.listeners,
            &parts.stopping,
            serving,
        );
        let limits = internal_limits(&self.config);
        let serving = listener::serve(
            self.internal,
            None,
            limits,
            internal,
            parts.stopping.clone(),
            drain,
        );
        parts.run(
            "the internal listener",
            &parts.listeners,
            &parts.stopping,
            serving,
        );
        let reconciler = Reconciler {
            store: self.store,
            recorder: self.recorder,
            evolink: self.evolink,
            clock: self.clock,
            metrics: self.metrics,
            pace: pace(&self.config),
            submit_timeout: self.config.evolink.timeout,
            quiet_until: Timestamp::default(),
        };
        parts.run(
            "the reconciler",
            &parts.workers,
            &parts.stopping,
            reconciler.run(parts.stopping.clone()),
        );
        if let Some(tls) = self.tls {
            let watching = tls.watch(CERTIFICATE_INTERVAL, self.reload, parts.stopping.clone());
            parts.run(
                "the certificate watch",
                &parts.workers,
                &parts.stopping,
                watching,
            );
        }
    }
}

fn tls_source(config: &Config) -> Result<Option<Arc<TlsSource>>, CommandError> {
    let tls = &config.public.tls;
    // Whoever calls judges the certificate by a clock of their own, which no test moves.
    let clock = Clock::System;
    let source = match tls.mode {
        TlsMode::Off => return Ok(None),
        TlsMode::Files => match (&tls.cert_file, &tls.key_file) {
            (Some(cert), Some(key)) => TlsSource::from_files(cert, key, clock),
            _ => {
                return Err(CommandError::new(
                    Exit::Config,
                    "public.tls: mode files wants cert_file and key_file",
                ));
            }
        },
        TlsMode::SelfSigned => {
            let host = config.public.base_url.host_str().unwrap_or("localhost");
            TlsSource::self_signed_in(
                &tls.self_signed_dir,
                &[host.trim_matches(['[', ']']).to_owned()],
                clock,
            )
        }
        TlsMode::Acme => {
            return Err(CommandError::new(
                Exit::Config,
                "public.tls.mode: acme is not in this version",
            ));
        }
    };
    source
        .map(|source| Some(Arc::new(source)))
        .map_err(|error| CommandError::new(Exit::Config, format!("public.tls: {error}")))
}

/// Both listeners share the descriptors that the system grants; the public one comes first.
fn within_descriptors(mut config: Config) -> Config {
    let wanted = config.public.max_connections + config.internal.max_connections;
    let granted = process::connections_granted(wanted);
    config.public.max_connections = config.public.max_connections.min((granted * 2 / 3).max(1));
    config.internal.max_connections = config
        .internal
        .max_connections
        .min((granted - config.public.max_connections).max(1));
    config
}

fn pace(config: &Config) -> Pace {
    Pace {
        first_poll_after: config.reconcile.first_poll_after,
        interval_min: config.reconcile.interval_min,
        give_up_after: config.reconcile.give_up_after,
    }
}

fn internal_limits(config: &Config) -> Limits {
    Limits {
        connections_max: config.internal.max_connections,
        ..Limits::internal()
    }
}

fn public_limits(config: &Config) -> Limits {
    let public = &config.public;
    Limits {
        connections_max: public.max_connections,
        connections_per_address_max: public.max_connections_per_address,
        handshake_timeout: public.handshake_timeout,
        head_timeout: public.header_timeout,
        request_timeout: Some(public.request_timeout + REQUEST_GRACE),
        ..Limits::public()
    }
}

fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, CommandError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for the connections of the process before to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error: std::io::Error| {
        CommandError::new(
            Exit::Unavailable,
            format!("{key}: cannot listen on {address}: {error}"),
        )
    })
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let exit = match error {
            StoreError::InUse { .. } | StoreError::Full | StoreError::DiskFailed(_) => {
                Exit::TempFail
            }
            StoreError::Damaged(_) | StoreError::Corrupt { .. } => Exit::DataErr,
            StoreError::SchemaTooNew(_) => Exit::Config,
            _ => Exit::Unavailable,
        };
        Self::new(exit, format!("store: {error}"))
    }
}
