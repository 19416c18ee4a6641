//! Builds all components from a configuration, runs them, and stops them in order. This is the only
//! module that depends on all others.

mod archive;
pub mod backup_places;
mod certificates;
pub mod data_folders;
mod exchange;
mod opened;
mod parts;
pub mod reload;
mod settings;
mod starting;
mod states;
mod store_workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cli;
use crate::clock::Clock;
use crate::config::{Config, Finding, InUse, Level};
use crate::domain::callback::KeyRing;
use crate::domain::delivery::Holder;
use crate::egress::{Egress, EndpointUrls};
use crate::evolink::{EvolinkClient, RateLimits, USER_AGENT};
use crate::exit::{CommandError, Exit};
use crate::observe::callback_path::CallbackPath;
use crate::observe::metrics::Metrics;
use crate::observe::telemetry::CONFIGURATION;
use crate::secrets::key_ring;
use crate::secrets::signing_files::SigningFiles;
use crate::self_test::LastSelfTest;
use crate::store::recorder::{Recorder, RecorderWorker};
use crate::store::repeats::Apps;
use crate::store::{Store, StoreError};
use crate::task_object::TaskObjects;
use certificates::Certificates;
use opened::Opened;
use parts::{Parts, finish};
use reload::{Reading, Reload};

/// The drain periods of a shutdown. EvoLink's callbacks and the apps' requests get most of the 10 s
/// between SIGTERM and the end: `public.drain_timeout`, at most 8 s. `DRAIN_GRACE` is the time to
/// close what is aborted then. The components that stop after the listeners share the rest.
const DRAIN_GRACE: Duration = Duration::from_millis(250);
const CALLS_DRAIN: Duration = Duration::from_millis(500);
const WORKERS_DRAIN: Duration = Duration::from_millis(500);
const STORE_DRAIN: Duration = Duration::from_millis(500);

/// The part of the drain that remains when unanswered calls to EvoLink are abandoned. It is needed
/// to record these submits as unknown, to answer their apps, and to release the claims of polls. At
/// most half of the drain.
const GIVING_UP_GRACE: Duration = Duration::from_secs(1);

/// The drain after a failure. A process that must restart does not make its clients wait.
const FAILED_DRAIN: Duration = Duration::from_secs(1);

/// A receiver that has opened its store, certificate and ports, but serves no requests yet.
pub struct App {
    config: Config,
    clock: Clock,
    store: Arc<Store>,
    recorder: Recorder,
    recorder_worker: RecorderWorker,
    evolink: Arc<EvolinkClient>,
    rate_limits: Arc<RateLimits>,
    key_ring: Arc<KeyRing>,
    signing_files: Arc<SigningFiles>,
    egress: Egress,
    endpoint_urls: EndpointUrls,
    archive: Option<archive::Archive>,
    task_objects: TaskObjects,
    /// The lease holder id of this process for deliveries.
    holder: Holder,
    attempts_at_once: usize,
    metrics: Metrics,
    callback_path: CallbackPath,
    self_tested: LastSelfTest,
    certificates: Certificates,
    /// `None` if there are no callbacks.
    public: Option<TcpListener>,
    internal: TcpListener,
    reload: Reload,
    in_use: Arc<InUse>,
    /// `None` if the configuration is not read again.
    reading: Option<Reading>,
}

impl App {
    /// Opens everything. Nothing is served before `run`.
    ///
    /// # Errors
    /// A `CommandError` with the cause and the exit code.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, CommandError> {
        config.validate()?;
        let fingerprint = config.fingerprint();
        let (config, attempts_at_once) = settings::within_descriptors(config);
        warn_of(&config);
        let Opened {
            signing_files,
            certificates,
            evolink,
        } = opened::open(&config)?;
        let rate_limits = Arc::new(settings::rate_limits(&config));
        let store = Arc::new(Box::pin(Store::open(settings::location(&config)?)).await?);
        // After the database: a key ring without one is the trace of a database that is gone.
        let ring_file = &config.callback_tokens.key_file;
        let key_ring = Arc::new(key_ring::open(&store, ring_file).await?);
        let evolink = Arc::new(evolink.with_key_ring(Arc::clone(&key_ring)));
        let metrics = Metrics::new();
        let callback_path = CallbackPath::new(metrics.clone());
        let (recorder, recorder_worker) = Recorder::new(
            Arc::clone(&store),
            clock.clone(),
            settings::policy(&config),
            metrics.clone(),
        );
        let holder = Holder::new(clock.now());
        let recorder_worker = recorder_worker
            .with_bounds(settings::quarantine_bounds(&config))
            .with_routes(settings::routes(&config, holder.clone()))
            .archiving_files(config.archive.enabled);
        let archive = archive::open(&config, &store).await?;
        let min_free = config.store.min_free.as_u64();
        (store.look_at_space(min_free, &metrics, recorder.failed())).await;
        let bind_public = || settings::bind("public.listen", config.public.listen);
        let public = (config.public.has_callbacks())
            .then(bind_public)
            .transpose()?;
        let internal = settings::bind("internal.listen", config.internal.listen)?;
        let egress = settings::egress(&config, [public.as_ref(), Some(&internal)])?;
        let endpoint_urls = EndpointUrls::new(settings::endpoints(&config));
        let task_objects = settings::task_objects(&config, &internal);
        metrics.configuration_in_use(&fingerprint);
        let in_use = Arc::new(InUse::new(fingerprint, clock.wall_now()));
        Ok(Self {
            config,
            clock,
            store,
            recorder,
            recorder_worker,
            evolink,
            rate_limits,
            key_ring,
            signing_files,
            egress,
            endpoint_urls,
            archive,
            task_objects,
            holder,
            attempts_at_once,
            metrics,
            callback_path,
            self_tested: LastSelfTest::default(),
            certificates,
            public,
            internal,
            reload: Reload::default(),
            in_use,
            reading: None,
        })
    }

    /// The address of the public listener, which EvoLink calls. `None` if there are no callbacks.
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.public.as_ref()?.local_addr().ok()
    }

    /// The address of the internal listener, for apps and operators.
    pub fn internal_address(&self) -> std::io::Result<SocketAddr> {
        self.internal.local_addr()
    }

    /// The public listener's certificate, which EvoLink must trust if it is self-signed.
    pub fn certificate_pem(&self) -> Option<String> {
        let public = self.certificates.public.as_ref();
        public.map(|tls| tls.certificate_pem())
    }

    pub fn key_ring(&self) -> &KeyRing {
        &self.key_ring
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The apps that wait for the answer to a submit without an idempotency key.
    pub const fn apps(&self) -> &Apps {
        self.recorder.apps()
    }

    /// Has the configuration read again, on request and at intervals.
    #[must_use]
    pub fn reading_again(mut self, reading: Reading) -> Self {
        self.reading = Some(reading);
        self
    }

    /// Use this to have the configuration and the certificate files read now.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Serves until `stop`, then drains: refuses new connections, answers the requests under way,
    /// records what they brought, and closes the store.
    ///
    /// # Errors
    /// `TempFail` if the disk failed, `Unavailable` if a component ended by itself. The process
    /// should be restarted.
    pub async fn run(self, stop: CancellationToken) -> Result<(), CommandError> {
        let parts = Parts::new(&stop);
        let (recorder, store) = (self.recorder.clone(), Arc::clone(&self.store));
        let drain = self.config.public.drain_timeout;
        let at = |address: Option<SocketAddr>, otherwise: &str| {
            address.map_or_else(|| otherwise.to_owned(), |at| at.to_string())
        };
        let public = at(self.public_address(), "no address (poll-only)");
        let internal = at(self.internal_address().ok(), "?");
        // At a stop, uploads are aborted and drafts are deleted on these threads.
        let background = (self.archive.as_ref()).map(|archive| archive.background.clone());
        self.start(&parts);
        info!(
            public,
            internal,
            version = cli::version(),
            "ready: callbacks at {public}, apps at {internal}"
        );
        let ended = tokio::select! {
            () = parts.stopping.cancelled() => Ok(()),
            () = recorder.failed().cancelled() => check_disk(&store),
            () = parts.broken.cancelled() => Err(CommandError::new(Exit::Unavailable, "a component ended unexpectedly; the log names it")),
        };
        info!("stopping");
        parts.stopping.cancel();
        let (drain, patience) = if ended.is_ok() {
            let grace = GIVING_UP_GRACE.min(drain / 2);
            (drain + DRAIN_GRACE, drain.saturating_sub(grace))
        } else {
            (FAILED_DRAIN, Duration::ZERO)
        };
        tokio::join!(
            finish("the listeners", &parts.listeners, drain),
            parts.end_calls(patience),
        );
        finish("calls of EvoLink", &parts.calls, CALLS_DRAIN).await;
        parts.recorder_stop.cancel();
        finish("the workers", &parts.workers, WORKERS_DRAIN).await;
        if let Some(background) = background {
            background.stop(WORKERS_DRAIN).await;
        }
        // Write nothing more to a disk that has failed.
        let disk_is_good = !recorder.failed().is_cancelled();
        if disk_is_good && timeout(STORE_DRAIN, store.close()).await.is_err() {
            warn!("the store was not closed in time");
        }
        info!("stopped");
        // It may have failed only when the store was closed.
        ended.and_then(|()| check_disk(&store))
    }
}

/// Logs what is dubious in the configuration.
fn warn_of(config: &Config) {
    let findings = config.findings();
    let warnings = findings
        .iter()
        .filter(|found| found.level == Level::Warning);
    for Finding { key, message, .. } in warnings {
        warn!(target: CONFIGURATION, key, "{key}: {message}");
    }
}

/// The client of EvoLink, with the key of the configuration.
///
/// # Errors
/// If the key cannot be read or used.
pub fn evolink_client(config: &Config) -> Result<EvolinkClient, CommandError> {
    let client = EvolinkClient::new(
        config.evolink.base_url.clone(),
        config.evolink.read_api_key()?,
        config.evolink.timeout,
        USER_AGENT,
    )?;
    Ok(client.with_key_source(config.evolink.key_source()))
}

/// The error of a store whose disk failed.
fn check_disk(store: &Store) -> Result<(), CommandError> {
    let failed = |reason| Err(CommandError::new(Exit::TempFail, reason));
    store.failure().map_or(Ok(()), failed)
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let exit = match error {
            StoreError::InUse { .. }
            | StoreError::Full
            | StoreError::DiskFailed(_)
            | StoreError::Replaced(_) => Exit::TempFail,
            StoreError::Damaged(_) | StoreError::Gone { .. } | StoreError::Corrupt { .. } => {
                Exit::DataErr
            }
            StoreError::SchemaTooNew { .. }
            | StoreError::SchemaDiffers(_)
            | StoreError::SeveralNames { .. }
            | StoreError::Unsuitable { .. } => Exit::Config,
            _ => Exit::Unavailable,
        };
        Self::new(exit, format!("store: {error}"))
    }
}
