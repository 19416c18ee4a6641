//! The program logs as much as it can, and neither its log nor its store contains a secret. The
//! secrets here are a sample.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::config::KeyDigest;
use evolink_receiver::http::tls::TlsSource;
use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::app::callback_body::completed;
use crate::support::net::ports::free_port;
use crate::support::store::TestStore;
use crate::support::until::until;

const EVOLINK_KEY: &str = "sk-canary-evolink-aaaaaaaaaaaaaaaa";
const API_KEY: &str = "evr_canary-api-key-bbbbbbbbbbbbbbbb";
const WRONG_KEY: &str = "evr_canary-wrong-key-cccccccccccc";
const DATABASE_PASSWORD: &str = "canary-database-gggggggg";
const PROMPT: &str = "canary-prompt-dddddddd";
const BODY: &str = "canary-body-eeeeeeee";
const GUESS: &str = "canary-guess-ffffffff";

/// The program itself, started as an operator would start it.
struct Program {
    child: Child,
    folder: TempDir,
    store: TestStore,
    public: SocketAddr,
    internal: SocketAddr,
    http: reqwest::Client,
}

impl Program {
    async fn start() -> (Self, Simulator) {
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

    async fn wait_until_ready(&self) {
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

    async fn submit(&self, key: &str, body: String) -> (u16, Value) {
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

    async fn callback(&self, token: &str, headers: &[(&str, &str)], body: String) -> u16 {
        let url = format!("https://localhost:{}/callbacks/{token}", self.public.port());
        let mut request = self.http.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Stops the program as an init system would.
    fn stop(&mut self) {
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
    async fn everything_stored(&self) -> Vec<String> {
        if self.store.file().is_none() {
            return vec![self.store.connect().await.dump().await];
        }
        ["receiver.db", "receiver.db-wal"]
            .map(|name| self.read(name))
            .into()
    }

    fn read(&self, name: &str) -> String {
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
fn with_password(url: &str) -> String {
    url.replace("://postgres@", &format!("://postgres:{DATABASE_PASSWORD}@"))
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn write_config(
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

fn submit_body(prompt: &str) -> String {
    json!({"model": "z-image-turbo", "prompt": format!("{PROMPT} {prompt}")}).to_string()
}

/// Makes valid and invalid submits and callbacks, of every kind that gets a different answer.
async fn live_through_a_day(program: &Program, simulator: &Simulator) {
    for (key, body, expected) in [
        (API_KEY, submit_body("[sim:duration=1ms]"), 200),
        (API_KEY, submit_body("[sim:never-ends,lost-callback]"), 200),
        (API_KEY, submit_body("[sim:no-quota]"), 402),
        (API_KEY, submit_body("[sim:reset,duration=1ms]"), 504),
        (API_KEY, submit_body("[sim:garbage,duration=1ms]"), 504),
        (
            API_KEY,
            json!({"model": "z-image-turbo", "prompt": PROMPT, "sizes": BODY}).to_string(),
            400,
        ),
        (API_KEY, format!("{{\"prompt\": \"{PROMPT}"), 400),
        (WRONG_KEY, submit_body(""), 401),
    ] {
        let (status, answer) = program.submit(key, body).await;
        assert_eq!(status, expected, "{answer}");
    }
    let task = &simulator.tasks()[1];
    let url = task.callback_url.clone().unwrap();
    let (_, token) = url.rsplit_once('/').unwrap();
    let good = completed(&task.id).replace("files.evolink.ai", BODY);
    let failed = good.replace("\"completed\"", "\"failed\"");
    let secret = format!("Bearer {API_KEY}");
    let secrets = [
        ("authorization", secret.as_str()),
        ("cookie", API_KEY),
        ("x-api-key", EVOLINK_KEY),
        ("x-forwarded-authorization", EVOLINK_KEY),
        ("user-agent", EVOLINK_KEY),
    ];
    let with_key = format!("not JSON {EVOLINK_KEY}");
    for (token, headers, body, expected) in [
        (GUESS, &[][..], good.clone(), 404),
        (&format!("{token}x"), &[], good.clone(), 404),
        (&format!("{token}?{GUESS}"), &[], BODY.to_owned(), 400),
        (token, &secrets, format!("not JSON {BODY}"), 400),
        (token, &[], with_key, 400),
        (
            token,
            &secrets,
            good.replace(&task.id, "task-unified-1757165031-somebody"),
            409,
        ),
        (token, &[("content-encoding", "gzip")], good.clone(), 415),
        (token, &[], BODY.repeat(20_000), 413),
        (token, &[], good.clone(), 200),
        (token, &[], good.clone(), 200),
        (token, &secrets, failed, 200),
    ] {
        assert_eq!(program.callback(token, headers, body).await, expected);
    }
    until("the callbacks", || {
        simulator.stats().callbacks_acknowledged >= 3
    })
    .await;
}

#[tokio::test]
async fn i40_neither_the_log_nor_the_store_holds_a_secret() {
    let (mut program, simulator) = Program::start().await;
    live_through_a_day(&program, &simulator).await;
    let database = program.everything_stored().await;
    program.stop();
    let log = program.read("log.stdout") + &program.read("log.stderr");
    assert!(
        log.contains("\"level\":\"TRACE\""),
        "it did log all it could"
    );
    assert!(log.contains("kept in quarantine"), "and what happened");
    let mut everywhere = vec![
        EVOLINK_KEY.to_owned(),
        API_KEY.to_owned(),
        WRONG_KEY.to_owned(),
    ];
    let ring = program.read("callback_tokens.key");
    everywhere.extend(ring.split_whitespace().skip(1).map(str::to_owned));
    for task in simulator.tasks() {
        let url = task.callback_url.unwrap();
        everywhere.push(url.rsplit_once('.').unwrap().1.to_owned());
    }
    everywhere.push(DATABASE_PASSWORD.to_owned());
    assert!(everywhere.len() >= 8, "{everywhere:?}");
    for secret in &everywhere {
        assert!(
            !log.contains(secret),
            "in the log: {}",
            line_with(&log, secret)
        );
        assert!(
            !database.iter().any(|text| text.contains(secret)),
            "in the store: {secret}"
        );
    }
    assert!(
        database.iter().any(|text| text.contains(BODY)),
        "the store was looked at"
    );
    for private in [PROMPT, BODY, GUESS] {
        assert!(
            !log.contains(private),
            "in the log: {}",
            line_with(&log, private)
        );
    }
}

fn line_with<'a>(log: &'a str, text: &str) -> &'a str {
    log.lines()
        .find(|line| line.contains(text))
        .unwrap_or_default()
}
