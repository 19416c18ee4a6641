//! `check --online`: EvoLink's key, and the public URL as EvoLink would see it. Each fault is named
//! with what to do about it.

use std::path::Path;
use std::process::Command;

use evolink_receiver::domain::callback::KeyRing;
use evolink_receiver::simulator::Options;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use url::Url;

use crate::support::app::{EVOLINK_KEY, TestApp};
use crate::support::net::certificates::Pem;
use crate::support::net::raw_server::{End, RawServer, http};

/// The settings of one `check --online`.
#[derive(Clone)]
struct Check {
    base_url: String,
    evolink: String,
    evolink_key: String,
    key_file: String,
    /// The certificate that the machine trusts.
    trusted: Option<String>,
}

impl Check {
    /// Of a receiver that runs, as EvoLink would see it if it trusted the certificate.
    fn of(app: &TestApp) -> Self {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Self {
            base_url: app.config.public.base_url.to_string(),
            evolink: app.config.evolink.base_url.to_string(),
            evolink_key: EVOLINK_KEY.to_owned(),
            key_file: text(&app.config.callback_tokens.key_file),
            trusted: Some(text(&app.folder().join("self-signed.crt"))),
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut check = self.clone();
        change(&mut check);
        check
    }

    /// The lines about the online tests. No step may fail without an exit code that says so.
    async fn lines(self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
        command.args(["check", "--online"]).env_clear();
        command.current_dir(folder.path());
        command
            .env("EVOLINK_RECEIVER__PUBLIC__BASE_URL", &self.base_url)
            .env("EVOLINK_RECEIVER__PUBLIC__TLS__MODE", "off")
            .env("EVOLINK_RECEIVER__EVOLINK__BASE_URL", &self.evolink)
            .env("EVOLINK_API_KEY", &self.evolink_key)
            .env(
                "EVOLINK_RECEIVER__CALLBACK_TOKENS__KEY_FILE",
                &self.key_file,
            );
        let none = folder.path().join("none.crt");
        std::fs::write(&none, Pem::good().cert).unwrap();
        let none = none.to_str().unwrap().to_owned();
        command.env("SSL_CERT_FILE", self.trusted.unwrap_or(none));
        let ended = spawn_blocking(move || command.output());
        let ended = ended.await.unwrap().unwrap();
        let shown = String::from_utf8(ended.stdout).unwrap();
        let is_online = |line: &&str| line[8..].starts_with("online.");
        let lines: Vec<String> = shown.lines().filter(is_online).map(str::to_owned).collect();
        let has_errors = lines.iter().any(|line| line.starts_with("error"));
        assert!(!has_errors || ended.status.code() == Some(78), "{shown}");
        let names: Vec<&str> = lines
            .iter()
            .filter_map(|line| line[8..].split(':').next())
            .collect();
        let all = [
            "online.evolink_key",
            "online.dns",
            "online.tls",
            "online.route",
        ];
        assert_eq!(
            names,
            all,
            "{shown}{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        lines
    }

    /// Checks that the lines have each of these parts.
    async fn shows(self, parts: &[&str]) {
        let lines = self.lines().await.join("\n");
        for part in parts {
            assert!(lines.contains(part), "{part}: {lines}");
        }
    }
}

async fn receiver() -> (TestApp, evolink_receiver::simulator::Simulator) {
    TestApp::start_with_simulator(Options {
        api_key: Some(EVOLINK_KEY.to_owned()),
        ..Options::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_says_what_was_found() {
    let (app, _simulator) = receiver().await;
    let check = Check::of(&app);
    check
        .clone()
        .shows(&[
            "ok      online.evolink_key: EvoLink accepts it; ",
            "error   online.dns: localhost is ",
            "an internal address, which EvoLink refuses to call",
            "ok      online.tls: ",
            "ok      online.route: a probe reached a receiver with this key ring",
        ])
        .await;
    assert_eq!(app.callbacks_received(), 0, "a probe is no callback");
    let wrong_key = check.with(|check| check.evolink_key = "sk-of-somebody-else".to_owned());
    wrong_key
        .shows(&["error   online.evolink_key: EvoLink rejects the API key (401): put a valid one into EVOLINK_API_KEY"])
        .await;
    let no_evolink = check.with(|check| check.evolink = "http://127.0.0.1:1".to_owned());
    no_evolink
        .shows(&[
            "error   online.evolink_key: EvoLink was not reached",
            "look at evolink.base_url",
        ])
        .await;
    let nowhere = check.with(|check| check.base_url = "https://nowhere.invalid".to_owned());
    nowhere
        .shows(&[
            "error   online.dns: nowhere.invalid has no address",
            "error   online.tls: public.base_url was not reached from this machine",
            "warning online.route: not tested",
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_way_is_named() {
    let (app, _simulator) = receiver().await;
    let check = Check::of(&app);
    let untrusted = check.with(|check| check.trusted = None);
    untrusted
        .shows(&[
            "error   online.tls: the issuer of the certificate is not known",
            "the leaf first",
        ])
        .await;
    let port = app.public.port();
    let other_name = check.with(|check| check.base_url = format!("https://127.0.0.1:{port}"));
    other_name
        .shows(&["error   online.tls: the certificate is not for the host of public.base_url"])
        .await;
    let folder = TempDir::new().unwrap();
    let ring = folder.path().join("ring.key");
    std::fs::write(&ring, KeyRing::generate().unwrap()).unwrap();
    let other_ring = check.with(|check| check.key_file = ring.to_str().unwrap().to_owned());
    other_ring
        .shows(&["error   online.route: it answered 404: another service, a receiver with another key ring"])
        .await;
    let other_path = check.with(|check| check.base_url = format!("{}in", check.base_url));
    other_path
        .shows(&["error   online.route: it answered 404"])
        .await;
    let absent = folder.path().join("absent.key");
    let no_ring = check.with(|check| check.key_file = absent.to_str().unwrap().to_owned());
    no_ring
        .shows(&["warning online.route: there is no key ring yet"])
        .await;
    let location = "location: https://elsewhere.example/x";
    for (answer, pem, line) in [
        (
            http(301, &[location], ""),
            Pem::good(),
            "error   online.route: it answered 301: a redirect to https://elsewhere.example/x. EvoLink follows none",
        ),
        (
            http(200, &[], "{\"result\":\"probe\",\"proof\":\"x\"}"),
            Pem::good(),
            "error   online.route: something else answers",
        ),
        (
            http(502, &[], ""),
            Pem::good(),
            "error   online.route: it answered 502: a proxy",
        ),
        (
            http(200, &[], ""),
            Pem::valid(2020, 2021),
            "error   online.tls: the certificate has expired",
        ),
    ] {
        let proxy = RawServer::start_with(answer, End::Close, Some(pem.acceptor())).await;
        let port = Url::parse(&proxy.url).unwrap().port().unwrap();
        let trusted = folder.path().join("proxy.crt");
        std::fs::write(&trusted, &pem.cert).unwrap();
        let behind = check.with(|check| {
            check.base_url = format!("https://localhost:{port}");
            check.trusted = Some(trusted.to_str().unwrap().to_owned());
        });
        behind.shows(&[line]).await;
    }
}
