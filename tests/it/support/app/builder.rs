//! Settings, start and stop of a receiver in this process. If the test wants it, the simulator
//! stands in for EvoLink.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use evolink_receiver::app::App;
use evolink_receiver::clock::Clock;
use evolink_receiver::config::{Config, TlsMode};
use evolink_receiver::domain::callback::KeyRing;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::exit::CommandError;
use evolink_receiver::simulator::{self, Simulator};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::running::TestApp;
use crate::support::described;
use crate::support::net::ports::free_port;
use crate::support::store::TestStore;
use crate::support::until::PATIENCE;

pub const EVOLINK_KEY: &str = "sk-canary-evolink-key";

/// The time at which tests with a manual clock begin.
pub const START: Timestamp = Timestamp::from_millis(1_757_165_031_000);

/// The settings from which a `TestApp` is started.
#[derive(Clone)]
pub struct TestAppBuilder {
    folder: Arc<TempDir>,
    pub store: Arc<TestStore>,
    clock: Clock,
    pub config: Config,
}

impl TestApp {
    /// Starts a receiver whose EvoLink refuses connections, on the system's clock.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn builder() -> TestAppBuilder {
        let folder = tempfile::tempdir().unwrap();
        let store = TestStore::in_folder(folder.path());
        TestAppBuilder::new(folder, store)
    }

    /// Starts a receiver in front of a simulator. `options` may be the default: addresses and
    /// secrets that the two need of each other are filled in.
    pub async fn start_with_simulator(options: simulator::Options) -> (Self, Simulator) {
        Self::builder().start_with_simulator(options).await
    }

    /// Stops the receiver as SIGTERM would. Returns its result, and a builder that starts it again
    /// on the same folder.
    pub async fn stop(self) -> (Result<(), CommandError>, TestAppBuilder) {
        self.stop.cancel();
        let ended = self.running.await.unwrap();
        let builder = TestAppBuilder {
            folder: self.folder,
            store: self.store,
            clock: self.clock,
            config: self.config,
        };
        (ended, builder)
    }
}

impl TestAppBuilder {
    /// Returns a builder for a receiver that keeps its files in `folder`. Receivers with the same
    /// folder and store are replicas.
    pub fn new(folder: TempDir, store: TestStore) -> Self {
        let mut config = Config::default();
        config.public.listen = "127.0.0.1:0".parse().unwrap();
        config.internal.listen = "127.0.0.1:0".parse().unwrap();
        config.public.base_url = Url::parse("https://localhost").unwrap();
        config.public.tls.mode = TlsMode::SelfSigned;
        folder
            .path()
            .clone_into(&mut config.public.tls.self_signed_dir);
        config.evolink.base_url = Url::parse("http://127.0.0.1:1").unwrap();
        // No EvoLink is there to be asked.
        config.evolink.pass_unknown_tasks = false;
        // Tests of this limit set it themselves.
        config.evolink.submits_per_second = 1000;
        config.evolink.api_key = Some(SecretString::from(EVOLINK_KEY));
        store.url().clone_into(&mut config.store.url);
        // Stories about archived files enable it.
        config.archive.enabled = false;
        config.archive.url = format!("file:{}", folder.path().join("results").display());
        config.callback_tokens.key_file = folder.path().join("callback_tokens.key");
        config.forward.secret_file = folder.path().join("forward.whsec");
        Self {
            folder: Arc::new(folder),
            store: Arc::new(store),
            clock: Clock::System,
            config,
        }
    }

    /// Uses a clock that stands still at `START` until the test moves it with `clock.advance`.
    pub fn with_manual_clock(mut self) -> Self {
        self.clock = Clock::manual(START);
        self
    }

    /// The folder of all files that the receiver keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The clock that the receiver will use.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    pub async fn start_with_simulator(self, options: simulator::Options) -> (TestApp, Simulator) {
        // The port must be known before the receiver binds it, because the simulator puts it in
        // every callback URL.
        let port = free_port();
        // The certificate is created first, so that the simulator can trust it.
        let source = evolink_receiver::http::tls::TlsSource::self_signed_in(
            &self.config.public.tls.self_signed_dir,
            &["localhost".to_owned()],
            Clock::System,
        )
        .unwrap();
        let simulator = Simulator::start(simulator::Options {
            allow_private_callbacks: true,
            callback_ca_pem: Some(source.certificate_pem().into_bytes()),
            ..options
        })
        .await
        .unwrap();
        let base_url = Url::parse(&simulator.base_url()).unwrap();
        let app = self
            .with(|config| {
                config.evolink.base_url = base_url;
                config.public.listen = SocketAddr::from(([127, 0, 0, 1], port));
                config.public.base_url = Url::parse(&format!("https://localhost:{port}")).unwrap();
            })
            .start()
            .await;
        (app, simulator)
    }

    /// Makes the key ring, for a store that has tasks before its first start.
    pub fn make_key_ring(&self) {
        let ring = KeyRing::generate().unwrap();
        std::fs::write(&self.config.callback_tokens.key_file, ring).unwrap();
    }

    pub async fn try_build(&self) -> Result<App, CommandError> {
        Box::pin(App::build(self.config.clone(), self.clock.clone())).await
    }

    pub async fn start(self) -> TestApp {
        let app = self.try_build().await.unwrap();
        let (public, internal) = (
            // Poll-only, nothing listens.
            (app.public_address()).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 1))),
            app.internal_address().unwrap(),
        );
        let certificate_pem = app.certificate_pem().unwrap_or_default();
        let (key_ring, metrics) = (app.key_ring().clone(), app.metrics().clone());
        let apps = app.apps().clone();
        let stop = CancellationToken::new();
        let mut http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        if !certificate_pem.is_empty() {
            http = http
                .tls_certs_only([
                    reqwest::Certificate::from_pem(certificate_pem.as_bytes()).unwrap()
                ]);
        }
        TestApp {
            public,
            internal,
            certificate_pem,
            key_ring,
            metrics,
            apps,
            clock: self.clock,
            config: self.config,
            http: described::client(http.build().unwrap()),
            folder: self.folder,
            store: self.store,
            running: tokio::spawn(app.run(stop.clone())),
            stop,
        }
    }
}
