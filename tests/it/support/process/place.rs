//! The surroundings of a receiver under test: a configuration file, a data folder, and its own
//! address.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::domain::callback::KeyRing;
use evolink_receiver::http::tls::TlsSource;
use evolink_receiver::secret_file;
use evolink_receiver::simulator::{Options, Simulator};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::store::TestStore;
use crate::support::until::PATIENCE;

pub const PUBLIC_PORT: u16 = 8443;
const INTERNAL_PORT: u16 = 8080;

/// A receiver's configuration, data, address, and the command that launches it. A clone is the same
/// place, possibly with a different launcher.
#[derive(Clone)]
pub struct Place {
    scratch: Arc<TempDir>,
    store: Arc<TestStore>,
    address: Ipv4Addr,
    /// The data folder as the test sees it.
    data: PathBuf,
    /// A command and its arguments that precede the program's own, such as `nsenter`.
    launcher: Vec<OsString>,
}

impl Place {
    /// Creates a place in its own folder, on the database engine of this test run.
    pub fn new() -> Self {
        Self::in_scratch(tempfile::tempdir().unwrap(), Vec::new())
    }

    /// Like `new`, in `scratch`. `launcher` starts the receivers.
    pub fn in_scratch(scratch: TempDir, launcher: Vec<OsString>) -> Self {
        let data = scratch.path().join("data");
        let store = TestStore::in_folder(&data);
        let url = store.url().to_owned();
        let mut place = Self::with(scratch.into(), store.into(), &url, &data, data.clone());
        place.launcher = launcher;
        place
    }

    /// Creates a place on PostgreSQL, whatever the engine of this test run. `None`, after saying
    /// so, where PostgreSQL is missing.
    pub fn on_postgres() -> Option<Self> {
        Some(Self::on(TestStore::on_postgres()?))
    }

    /// Creates a place in its own folder, with `store` on a server.
    pub fn on(store: TestStore) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        let url = store.url().to_owned();
        Self::with(scratch.into(), store.into(), &url, &data, data.clone())
    }

    /// Returns a replica: the same store, key ring and certificate, with its own address.
    pub fn replica(&self) -> Self {
        let (scratch, store) = (Arc::clone(&self.scratch), Arc::clone(&self.store));
        let url = self.store.url();
        Self::with(scratch, store, url, &self.data, self.data.clone())
    }

    /// Returns a place on the same store, with its own certificate and key ring.
    pub fn stranger(&self, key_ring: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("callback_tokens.key"), key_ring).unwrap();
        let store = Arc::clone(&self.store);
        let url = self.store.url();
        Self::with(scratch.into(), store, url, &data, data.clone())
    }

    /// Creates a place on SQLite. `inside` is the data folder as a receiver sees it that `launcher`
    /// starts; `data` is the same folder as the test sees it.
    pub fn in_folder(
        scratch: TempDir,
        inside: &Path,
        data: PathBuf,
        launcher: Vec<OsString>,
    ) -> Self {
        let store = TestStore::file_in(&data);
        let url = format!("sqlite:{}/receiver.db", inside.display());
        let mut place = Self::with(scratch.into(), store.into(), &url, inside, data);
        place.launcher = launcher;
        place
    }

    fn with(
        scratch: Arc<TempDir>,
        store: Arc<TestStore>,
        url: &str,
        inside: &Path,
        data: PathBuf,
    ) -> Self {
        // Each place has its own address, so its ports are free and stay the same over restarts.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        // Tests that start together have neighbouring process ids, and each may have many places.
        let number = std::process::id() * 64 + STARTED.fetch_add(1, Ordering::Relaxed);
        // Avoids the first and last address of a network, and gives each number a different
        // address.
        let part = |value: u32| u8::try_from(value % 250 + 1).unwrap();
        let high = u8::try_from(number / 62_500 % 128).unwrap() | 0x80;
        let address = Ipv4Addr::new(127, high, part(number / 250), part(number));
        let (public, internal) = (
            SocketAddr::from((address, PUBLIC_PORT)),
            SocketAddr::from((address, INTERNAL_PORT)),
        );
        let inside = inside.display();
        let config = format!(
            r#"
[public]
listen = "{public}"
base_url = "https://localhost:{PUBLIC_PORT}"
tls = {{ mode = "self-signed", self_signed_dir = "{inside}" }}
[internal]
listen = "{internal}"
[evolink]
base_url = "http://127.0.0.1:1"
api_key = "not-a-key"
[store]
url = "{url}"
[callback_tokens]
key_file = "{inside}/callback_tokens.key"
[forward]
secret_file = "{inside}/forward.whsec"
[reconcile]
first_poll_after = "1h"
[archive]
enabled = false
url = "file:{inside}/results"
"#
        );
        let place = Self {
            scratch,
            store,
            address,
            data,
            launcher: Vec::new(),
        };
        std::fs::write(place.config(), config).unwrap();
        place
    }

    /// Returns the certificate that the receiver will present, which is valid for its address. It
    /// is created before the first start, so that a simulator can be configured to trust it.
    pub fn make_certificate(&self) -> String {
        std::fs::create_dir_all(&self.data).unwrap();
        let names = ["localhost".to_owned(), self.address.to_string()];
        let source = TlsSource::self_signed_in(&self.data, &names, Clock::System).unwrap();
        source.certificate_pem()
    }

    /// Makes the key ring of a store that is there before the first start.
    pub fn make_ring(&self) {
        std::fs::create_dir_all(&self.data).unwrap();
        let ring = self.data.join("callback_tokens.key");
        secret_file::make(&ring, &KeyRing::generate().unwrap()).unwrap();
    }

    /// Replaces `from` by `to` in the configuration, effective from the next start.
    pub fn configure(&self, from: &str, to: &str) {
        let config = std::fs::read_to_string(self.config()).unwrap();
        assert!(config.contains(from), "{from} is not in {config}");
        std::fs::write(self.config(), config.replace(from, to)).unwrap();
    }

    /// Configures the receiver to call `evolink`, and to be called back at its own address.
    pub fn configure_evolink(&self, evolink: &str) {
        self.configure("http://127.0.0.1:1", evolink);
        let public = format!("https://{}", self.public());
        self.configure(&format!("https://localhost:{PUBLIC_PORT}"), &public);
    }

    /// Starts a simulator that the receiver calls, and that calls the receiver back.
    pub async fn with_simulator(&self) -> Simulator {
        let certificate = self.make_certificate();
        let simulator = Simulator::start(Options {
            allow_private_callbacks: true,
            callback_ca_pem: Some(certificate.into_bytes()),
            ..Options::default()
        });
        let simulator = simulator.await.unwrap();
        self.configure_evolink(&simulator.base_url());
        simulator
    }

    /// Launches the receiver through `command` from now on, such as `eatmydata`.
    pub fn launch_through(&mut self, command: &[&str]) {
        self.launcher.extend(command.iter().map(OsString::from));
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn store(&self) -> &TestStore {
        &self.store
    }

    /// The database file of a SQLite store.
    pub fn database(&self) -> PathBuf {
        self.store.file().expect("a test of SQLite's file")
    }

    pub fn config(&self) -> PathBuf {
        self.scratch.path().join(format!("{}.toml", self.address))
    }

    pub fn public(&self) -> SocketAddr {
        SocketAddr::from((self.address, PUBLIC_PORT))
    }

    pub fn internal(&self) -> SocketAddr {
        SocketAddr::from((self.address, INTERNAL_PORT))
    }

    fn command(&self, name: &str) -> Command {
        let mut words = self.launcher.clone();
        words.push(env!("CARGO_BIN_EXE_evolink-receiver").into());
        words.extend([name.into(), "--config".into()]);
        words.push(self.config().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    /// Runs a start that must be refused until it exits. A process that does not exit is killed,
    /// and has no exit code.
    pub async fn run_to_end(&self) -> Output {
        let mut command = self.command("serve");
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        let _ = child.kill();
        child.wait_with_output().unwrap()
    }

    /// Returns what `check` prints.
    pub fn check(&self) -> String {
        let output = self.command("check").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the line that `check` prints about the store.
    pub fn check_of_store(&self) -> String {
        let lines = self.check();
        let mut lines = lines.lines().filter(|line| line.contains("store.url"));
        lines.next().unwrap_or_default().to_owned()
    }

    /// Starts the receiver and does not wait.
    pub fn spawn(&self) -> (Child, PathBuf) {
        let log = self.scratch.path().join(format!("{}.log", self.address));
        let open = || File::options().create(true).append(true).open(&log);
        let mut command = self.command("serve");
        command.stdout(open().unwrap()).stderr(open().unwrap());
        (command.spawn().unwrap(), log)
    }
}
