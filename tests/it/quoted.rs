//! No error quotes a value that may be a secret, although the libraries that read certificates,
//! TOML, URLs and password files repeat what they could not read.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use tempfile::TempDir;

use crate::support::net::certificates::Pem;
use crate::support::net::ports::free_port;
use crate::support::until::until;

const CANARY: &str = "c4n4ryMIIEvQIBADANBgkqhkiG9w0BAQEFAASC";

/// A folder with a configuration, and with secrets that must not be shown.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a valid configuration that ends with `more`.
    fn config(&self, more: &str) {
        let good = Pem::good();
        self.file("tls.key", &good.key);
        self.file("tls.crt", &good.cert);
        let (public, internal) = (free_port(), free_port());
        let toml = format!(
            "[public]\nlisten = '127.0.0.1:{public}'\nbase_url = 'https://hooks.acme.io'\n\
             [internal]\nlisten = '127.0.0.1:{internal}'\n[archive]\nenabled = false\n{more}\n"
        );
        self.file("receiver.toml", &toml);
    }

    fn command(&self, command: &str) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
        run.args([command, "--config", "receiver.toml"])
            .current_dir(self.0.path())
            .env_clear()
            .env("RUST_LOG", "trace");
        run
    }
}

/// Checks the spellings in which a library could show the secret: text, decimal bytes, hex and
/// base64.
fn assert_hidden(shown: &str, what: &str) {
    let bytes = CANARY.as_bytes();
    let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    for spelling in [
        CANARY.to_owned(),
        decimal[4..12].join(", "),
        decimal[4..12].join(","),
        hex[8..24].to_owned(),
        BASE64_STANDARD_NO_PAD.encode(&bytes[3..12]),
        BASE64_STANDARD_NO_PAD.encode(&bytes[1..13]),
        BASE64_STANDARD_NO_PAD.encode(&bytes[2..11]),
    ] {
        assert!(!shown.contains(&spelling), "{what}: {spelling}: {shown}");
    }
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// Asserts that `check` and `serve` fail and that neither shows the canary. Returns the output of
/// `check`.
fn both_refuse(place: &Place, env: &[(&str, &str)], what: &str) -> String {
    let [check, serve] = ["check", "serve"].map(|command| {
        let output = place
            .command(command)
            .envs(env.iter().copied())
            .output()
            .unwrap();
        let shown = text(&output);
        assert_hidden(&shown, &format!("{command}, {what}"));
        assert!(!output.status.success(), "{command}, {what}: {shown}");
        shown
    });
    assert!(serve.contains("evolink-receiver: "), "{what}: {serve}");
    check
}

const KEY: &str = "[evolink]\napi_key = 'sk-a-key-that-is-long-enough'\n";

fn tls(cert: &str, key: &str) -> String {
    format!("[public.tls]\ncert_file = '{cert}'\nkey_file = '{key}'\n{KEY}")
}

/// A PEM file on one line, as an environment variable or a YAML string may make it.
fn one_line(pem: &str) -> String {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n");
    format!("{key}{pem}").replace('\n', "\\n")
}

#[test]
fn a_pem_file_on_one_line_is_not_well_formed_and_not_quoted() {
    let place = Place::new();
    place.file("one-line.pem", &one_line(&Pem::good().cert));
    for (cert, key) in [("one-line.pem", "tls.key"), ("tls.crt", "one-line.pem")] {
        place.config(&tls(cert, key));
        let shown = both_refuse(&place, &[], cert);
        assert!(shown.contains("it is not well-formed PEM"), "{shown}");
    }
    place.config(&tls("tls.crt", "tls.key"));
    let roots = place.file("roots.pem", &one_line(""));
    let roots = [
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
        ("SSL_CERT_DIR", "/nowhere"),
    ];
    both_refuse(&place, &roots, "SSL_CERT_FILE");
}

#[tokio::test]
async fn a_reloaded_pem_file_that_is_refused_is_not_quoted_in_the_log() {
    let place = Place::new();
    place.config(&tls("tls.crt", "tls.key"));
    let log = place.0.path().join("log");
    let file = fs::File::create(&log).unwrap();
    let mut receiver = place
        .command("serve")
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let read = || fs::read_to_string(&log).unwrap();
    until("the start", || read().contains("ready: callbacks at")).await;
    place.file("tls.crt", &one_line(&Pem::good().cert));
    let pid = receiver.id().to_string();
    let hangup = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
    assert!(hangup.success());
    until("the refusal", || {
        read().contains("keeping the old certificate")
    })
    .await;
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    receiver.wait().unwrap();
    let log = read();
    assert!(log.contains("it is not well-formed PEM"));
    assert_hidden(&log, "the log");
}

#[test]
fn files_of_secrets_and_the_configuration_are_not_quoted() {
    let place = Place::new();
    let good = tls("tls.crt", "tls.key");
    for (name, content, more) in [
        (
            "ring",
            format!("k1 {CANARY}\n"),
            "[callback_tokens]\nkey_file = 'ring'\n",
        ),
        (
            "ring",
            format!("{CANARY}\n"),
            "[callback_tokens]\nkey_file = 'ring'\n",
        ),
        (
            "whsec",
            format!("whsec_{CANARY}!\n"),
            "[[forward.endpoints]]\nname = 'a'\nurl = 'https://a.example.com'\nsecret_file = 'whsec'\nevents = ['task.failed']\n",
        ),
        (
            "password",
            format!("{CANARY}\n"),
            "[store]\nurl = 'postgres://127.0.0.1:x/db'\npassword_file = 'password'\n",
        ),
    ] {
        place.file(name, &content);
        place.config(&format!("{good}{more}"));
        both_refuse(&place, &[], more);
    }
    place.file("api_key", &format!("sk-\n{CANARY}\n"));
    place.config("[public.tls]\nmode = 'off'\n[evolink]\napi_key_file = 'api_key'\n");
    both_refuse(&place, &[], "api_key_file");
    for malformed in [
        format!("api_key = {CANARY}"),
        format!("api_key = 'sk-{CANARY}"),
        format!("api_key = \"sk-{CANARY}\\q\""),
        format!("api_key = \"sk-{CANARY}\" x"),
        format!("api_key: sk-{CANARY}"),
        format!("api_key = 'a'\napi_key = 'sk-{CANARY}'"),
        format!("api_key = \"\"\"\nsk-{CANARY}\n"),
        format!("api_key = ['sk-{CANARY}']"),
        format!("api_key = {{ value = 'sk-{CANARY}' }}"),
        format!("api_key = 'a'\n[evolink.api_key]\nvalue = 'sk-{CANARY}'"),
    ] {
        place.config(&format!(
            "[public.tls]\nmode = 'off'\n[evolink]\n{malformed}\n"
        ));
        both_refuse(&place, &[], &malformed);
    }
}

#[test]
fn a_secret_in_the_place_of_the_path_of_its_file_is_not_shown() {
    let place = Place::new();
    let key = format!("-----BEGIN PRIVATE KEY-----\\n{CANARY}\\n");
    for (variable, value) in [
        ("EVOLINK__API_KEY_FILE", format!("sk-{CANARY}")),
        ("FORWARD__SECRET_FILE", format!("whsec_{CANARY}")),
        ("PUBLIC__TLS__KEY_FILE", key.replace("\\n", "\n")),
        ("PUBLIC__TLS__KEY_FILE", key.clone()),
        ("PUBLIC__TLS__CERT_FILE", key),
    ] {
        let is_tls = variable.starts_with("PUBLIC");
        place.config(&if is_tls || variable.starts_with("FORWARD") {
            tls("tls.crt", "tls.key")
        } else {
            "[public.tls]\nmode = 'off'\n".to_owned()
        });
        let variable = format!("EVOLINK_RECEIVER__{variable}");
        if variable.ends_with("FORWARD__SECRET_FILE") {
            let output = place
                .command("check")
                .env(&variable, &value)
                .output()
                .unwrap();
            assert_hidden(&text(&output), &variable);
        } else {
            both_refuse(&place, &[(&variable, &value)], &variable);
        }
    }
}

/// A server that accepts TLS and then hangs. That is far enough for the driver to read the client's
/// key.
fn tls_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        // Connections from `check` and `serve`, each with one or two attempts.
        for stream in listener.incoming().take(8) {
            let Ok(mut stream) = stream else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            if stream.read_exact(&mut [0; 8]).is_ok() && stream.write_all(b"S").is_ok() {
                let _ = stream.read(&mut [0; 8]);
            }
        }
    });
    address
}

#[test]
fn the_url_of_a_server_and_the_files_that_it_names_are_not_quoted() {
    let place = Place::new();
    let pem = place.file("one-line.pem", &one_line(&Pem::good().cert));
    place.config("");
    let good = place.0.path().join("tls.crt");
    let home = place.0.path().to_str().unwrap().to_owned();
    let pgpass = place.file(".pgpass", &format!("{CANARY}\n{CANARY}:\\x\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&pgpass, mode).unwrap();
    let server = tls_server();
    let files = |cert: &Path, key: &Path| {
        let (cert, key) = (cert.display(), key.display());
        format!("postgres://u@{server}/db?sslmode=require&sslcert={cert}&sslkey={key}")
    };
    for url in [
        format!("postgres://u:{CANARY}@127.0.0.1:port/db"),
        format!("postgres://u:pass/{CANARY}@127.0.0.1:1/db"),
        format!("postgres://u@127.0.0.1:1/db?sslmode={CANARY}"),
        format!("postgres://u@127.0.0.1:1/db?port={CANARY}"),
        format!("postgres://u@127.0.0.1:1/db?hostaddr={CANARY}"),
        format!("postgres://u@127.0.0.1:1/db?passwd={CANARY}"),
        format!("postgres://u@127.0.0.1:1/db?password={CANARY}"),
        format!("postgress://u:{CANARY}@127.0.0.1:1/db"),
        "postgres://u@127.0.0.1:1/db".to_owned(),
        files(&pem, &pem),
        files(&good, &pem),
    ] {
        place.config(&format!(
            "{}[store]\nurl = '{url}'\n",
            tls("tls.crt", "tls.key")
        ));
        both_refuse(&place, &[("HOME", home.as_str())], &url);
    }
}

#[test]
fn a_url_on_the_command_line_is_not_quoted() {
    for url in [
        format!("http://u:{CANARY}@127.0.0.1:x"),
        format!("http://u:{CANARY}@127.0.0.1:1"),
        format!("ftp://u:{CANARY}@127.0.0.1:1"),
    ] {
        for args in [&["healthcheck"][..], &["tasks", "list"]] {
            let mut run = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
            let output = run.args(args).args(["--url", &url]).output().unwrap();
            assert_hidden(&text(&output), &url);
            assert_eq!(output.status.code(), Some(64), "{}", text(&output));
        }
    }
}
