//! A whole receiver for a test: the real `App` with its real listeners, TLS and store in its own
//! folder. If the test wants it, the simulator stands in for EvoLink.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::app::App;
use evolink_receiver::clock::Clock;
use evolink_receiver::config::{Config, TlsMode};
use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::exit::CommandError;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::simulator::{self, Simulator};
use evolink_receiver::store::repeats::Apps;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::database::Database;
use super::raw::RawClient;
use super::store::TestStore;

/// Far above any time under test. Reaching it means that the awaited event will never happen.
const PATIENCE: Duration = Duration::from_mins(1);

pub const EVOLINK_KEY: &str = "sk-canary-evolink-key";

/// The time at which tests with a manual clock begin.
pub const START: Timestamp = Timestamp::from_millis(1_757_165_031_000);

pub struct TestApp {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub certificate_pem: String,
    pub key_ring: KeyRing,
    pub metrics: Metrics,
    /// The apps that wait for the answer to a submit without an idempotency key.
    pub apps: Apps,
    pub clock: Clock,
    pub config: Config,
    pub http: reqwest::Client,
    pub store: Arc<TestStore>,
    folder: Arc<TempDir>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), CommandError>>,
}

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

    /// The folder of all files that the receiver keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The token for `subject`, as the receiver would mint it.
    pub fn token(&self, subject: &Subject) -> String {
        self.key_ring.mint(subject)
    }

    /// A standing token.
    pub fn standing_token(&self, label: &str) -> String {
        self.token(&Subject::Standing(label.parse().unwrap()))
    }

    pub async fn raw_public(&self) -> RawClient {
        RawClient::connect_tls(self.public, &self.certificate_pem, "localhost").await
    }

    /// POSTs `body` to the callback URL of `token` over TLS, and returns status and body.
    pub async fn callback(&self, token: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let url = format!("https://localhost:{}/callbacks/{token}", self.public.port());
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// POSTs a callback, and returns the `result` of the answer, or the status if there is no
    /// result.
    pub async fn callback_result(&self, token: &str, body: impl Into<reqwest::Body>) -> String {
        let (status, body) = self.callback(token, body).await;
        let result = serde_json::from_str::<Value>(&body)
            .ok()
            .and_then(|body| Some(body["result"].as_str()?.to_owned()));
        result.unwrap_or_else(|| status.to_string())
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.internal))
    }

    /// Returns status and JSON of a GET on the internal listener.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        )
    }

    /// Submits, and returns status and JSON.
    pub async fn submit(&self, body: &Value) -> (u16, Value) {
        let request = self
            .request(Method::POST, "/v1/images/generations")
            .json(body);
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        )
    }

    /// Submits, and returns the task object. EvoLink must accept the submit.
    pub async fn submitted(&self, prompt: &str) -> Value {
        let (status, task) = self
            .submit(&json!({"model": "z-image-turbo", "prompt": prompt}))
            .await;
        assert_eq!(status, 200, "{task}");
        task
    }

    /// Waits until `is_it` accepts the task object, and returns it.
    pub async fn task_when(&self, id: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, task) = self.get(&format!("/v1/tasks/{id}")).await;
            if status == 200 && is_it(&task) {
                return task;
            }
            assert!(Instant::now() < deadline, "it never came: {status} {task}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a counter, by its name and labels as `/metrics` shows them; 0 if it does not
    /// exist.
    pub fn counter(&self, series: &str) -> u64 {
        let text = self.metrics.render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Callbacks that began.
    pub fn callbacks_received(&self) -> u64 {
        self.counter("evolink_receiver_callbacks_received_total")
    }

    /// Callbacks that ended, one way or another.
    pub fn callbacks_ended(&self) -> u64 {
        let results = [
            "recorded",
            "unchanged",
            "duplicate",
            "conflict",
            "quarantined",
            "refused",
            "aborted",
        ];
        let series = |result| format!("evolink_receiver_callbacks_total{{result=\"{result}\"}}");
        let counted = results.map(|result| self.counter(&series(result)));
        counted.iter().sum()
    }

    /// RELIABILITY I48: every callback that began has ended in exactly one way.
    pub fn assert_counters_balance(&self) {
        assert_eq!(
            self.callbacks_ended(),
            self.callbacks_received(),
            "{}",
            self.metrics.render()
        );
    }

    /// Opens a second connection to the same database, to inspect it.
    pub async fn database(&self) -> Database {
        self.store.connect().await
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
        // Tests of this limit set it themselves.
        config.evolink.submits_per_second = 1000;
        config.evolink.api_key = Some(SecretString::from(EVOLINK_KEY));
        store.url().clone_into(&mut config.store.url);
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

    pub async fn try_build(&self) -> Result<App, CommandError> {
        Box::pin(App::build(self.config.clone(), self.clock.clone())).await
    }

    pub async fn start(self) -> TestApp {
        let app = self.try_build().await.unwrap();
        let (public, internal) = (
            app.public_address().unwrap(),
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
            http: http.build().unwrap(),
            folder: self.folder,
            store: self.store,
            running: tokio::spawn(app.run(stop.clone())),
            stop,
        }
    }
}

/// Returns a port for a listener that is started later. It is below the ports that the system
/// assigns to clients; one of those could be taken by another test's connection before the listener
/// starts.
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| fastrand::u16(10_000..30_000))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}
