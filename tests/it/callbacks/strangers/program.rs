//! The program with a secret in each place that can hold one, started as an operator would start
//! it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::config::KeyDigest;
use evolink_receiver::http::tls::TlsSource;
use evolink_receiver::simulator::{Options, Simulator};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::described;
use crate::support::net::ports::free_port;
use crate::support::store::TestStore;

pub const EVOLINK_KEY: &str = "sk-canary-evolink-aaaaaaaaaaaaaaaa";

pub const API_KEY: &str = "evr_canary-api-key-bbbbbbbbbbbbbbbb";

pub const WRONG_KEY: &str = "evr_canary-wrong-key-cccccccccccc";

pub const DATABASE_PASSWORD: &str = "canary-database-gggggggg";

pub const PROMPT: &str = "canary-prompt-dddddddd";

pub const BODY: &str = "canary-body-eeeeeeee";

pub const GUESS: &str = "canary-guess-ffffffff";

/// The program itself, started as an operator would start it.
pub struct Program {
    child: Child,
    pub folder: TempDir,
    pub store: TestStore,
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub http: described::Client,
}

impl Program {
    pub async fn start() -> (Self, Simulator) {
        let folder = tempfile::tempdir().unwrap();
        let source =
            TlsSource::self_signed_in(folder.path(), &["localhost".to_owned()], Clock::System)
                .unwrap();
        let pem = source.certificate_pem();
        let simulator = Simulator::start(Options {
            allow_private_callbacks: true,
            callback_ca_pem: Some(pem.clone().into_bytes()),
            api_key: Some(EVOLINK_KEY.to_owned()),
            ..Options::default()
        });
        let simulator = simulator.await.unwrap();
        let (public, internal) = (free_address(), free_address());
        let store = TestStore::in_folder(folder.path());
        write_config(
            folder.path(),
            public,
            internal,
            &simulator.base_url(),
            &with_password(store.url()),
        );
        let output = |name: &str| Stdio::from(File::create(folder.path().join(name)).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"))
            .args(["serve", "--config"])
            .arg(folder.path().join("receiver.toml"))
            .env_clear()
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(output("log.stdout"))
            .stderr(output("log.stderr"))
            .spawn()
            .unwrap();
        let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_mins(1));
        let http = http.tls_certs_only([certificate]).build().unwrap();
        let http = described::client(http);
        let program = Self {
            child,
            folder,
            store,
            public,
            internal,
            http,
        };
        program.wait_until_ready().await;
        (program, simulator)
    }

    pub async fn wait_until_ready(&self) {
        for _ in 0..600 {
            let asked = self
                .http
                .get(format!("http://{}/readyz", self.internal))
                .send()
                .await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("never ready: {}", self.read("log.stdout"));
    }

    pub async fn submit(&self, key: &str, body: String) -> (u16, Value) {
        let url = format!("http://{}/v1/images/generations", self.internal);
        let request = self
            .http
            .post(url)
            .bearer_auth(key)
            .header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or_default(),
        )
    }

    pub async fn callback(&self, token: &str, headers: &[(&str, &str)], body: String) -> u16 {
        let url = format!("https://localhost:{}/callbacks/{token}", self.public.port());
        let mut request = self.http.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Stops the program as an init system would.
    pub fn stop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(
            self.child.wait().unwrap().success(),
            "{}",
            self.read("log.stderr")
        );
    }

    /// Everything in the database: the content of its files, or all rows of a server.
    pub async fn everything_stored(&self) -> Vec<String> {
        if self.store.file().is_none() {
            return vec![self.store.connect().await.dump().await];
        }
        ["receiver.db", "receiver.db-wal"]
            .map(|name| self.read(name))
            .into()
    }

    pub fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds a password to a server's URL. The server used for tests accepts every client.
pub fn with_password(url: &str) -> String {
    url.replace("://postgres@", &format!("://postgres:{DATABASE_PASSWORD}@"))
}

pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

pub fn write_config(
    folder: &Path,
    public: SocketAddr,
    internal: SocketAddr,
    evolink: &str,
    store: &str,
) {
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("evolink.key"), EVOLINK_KEY).unwrap();
    let toml = format!(
        "[public]\nlisten = '{public}'\nbase_url = 'https://localhost:{}'\n\
        [public.tls]\nmode = 'self-signed'\nself_signed_dir = '{}'\n\
        [internal]\nlisten = '{internal}'\n\
        [[internal.api_keys]]\nname = 'web'\nsha256 = '{}'\nscopes = ['submit', 'read']\n\
        [evolink]\nbase_url = '{evolink}'\napi_key_file = '{}'\n\
        [store]\nurl = '{store}'\n[callback_tokens]\nkey_file = '{}'\n\
        [archive]\nurl = 'file:{}'\n[forward]\nsecret_file = '{}'\n",
        public.port(),
        folder.display(),
        KeyDigest::of(API_KEY),
        at("evolink.key"),
        at("callback_tokens.key"),
        at("results"),
        at("forward.whsec"),
    );
    fs::write(at("receiver.toml"), toml).unwrap();
}
