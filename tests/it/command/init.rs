//! `init`: what it writes can be run, and nothing is replaced unasked. The client commands find the
//! service by its configuration.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use evolink_receiver::secret_file;

use super::binary::{code, stderr, stdout};
use crate::support::net::certificates::Pem;
use crate::support::net::ports::free_port;
use crate::support::until::until;

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    command.args(args).current_dir(folder).env_clear();
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

fn replace(path: &Path, changes: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(path).unwrap();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}: {text}");
        text = text.replace(old, new);
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn what_init_writes_is_right_once_its_placeholders_are_filled() {
    let [pem, intermediate, _root] = Pem::chain("hooks.acme.io");
    let chain = pem.cert + &intermediate.cert;
    for kind in ["trial", "proxy", "container"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let written = run(folder, &["init", kind]);
        assert_eq!(code(&written), Some(0), "{}", stderr(&written));
        let config = folder.join("receiver.toml");
        let printed = run(folder, &["init", kind, "--out", "-"]);
        assert_eq!(stdout(&printed), std::fs::read_to_string(&config).unwrap());
        for (name, content) in [
            ("evolink_api_key", "sk-0123456789abcdef"),
            ("tls.crt", &chain),
            ("tls.key", &pem.key),
        ] {
            secret_file::make(&folder.join(name), content).unwrap();
        }
        let here = format!("{}/", folder.display());
        let ports = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}\""));
        match kind {
            "trial" => replace(&config, &[("127.0.0.1:8443\"", &ports[0])]),
            "proxy" => replace(
                &config,
                &[
                    ("hooks.example.com", "hooks.acme.io"),
                    ("/etc/evolink-receiver/", &here),
                    ("127.0.0.1:8443\"", &ports[0]),
                    ("127.0.0.1:8080\"", &ports[1]),
                ],
            ),
            _ => replace(
                &config,
                &[
                    ("hooks.example.com", "hooks.acme.io"),
                    ("/run/secrets/", &here),
                    ("127.0.0.1:8080\"", &ports[1]),
                ],
            ),
        }
        let checked = run(folder, &["check", "--config", "receiver.toml"]);
        assert_eq!(code(&checked), Some(0), "{kind}: {}", stdout(&checked));
        let of_the_machine = [
            ".listen: ",
            " store.min_free: ",
            " archive.min_free: ",
            " clock: ",
        ];
        let warned = stdout(&checked).lines().find(|line| {
            line.starts_with("warning") && !of_the_machine.iter().any(|part| line.contains(part))
        });
        assert_eq!(
            warned.is_some(),
            kind == "trial",
            "{kind}: {}",
            stdout(&checked)
        );
    }
}

#[test]
fn init_replaces_no_file_unless_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("receiver.toml");
    std::fs::write(&config, "mine").unwrap();
    let refused = run(folder.path(), &["init"]);
    assert_eq!(code(&refused), Some(64));
    assert!(stderr(&refused).contains("there is a receiver.toml already: --force"));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "mine");
    let forced = run(folder.path(), &["init", "--force"]);
    assert_eq!(code(&forced), Some(0), "{}", stderr(&forced));
    assert!(stdout(&forced).contains("evolink-receiver serve --config receiver.toml"));
    assert!(
        std::fs::read_to_string(&config)
            .unwrap()
            .contains("self-signed")
    );
}

#[test]
fn the_trial_of_the_documents_is_the_one_that_init_writes() {
    let page = std::fs::read_to_string("docs/getting-started.md").unwrap();
    let trial = std::fs::read_to_string("src/commands/init/trial.toml").unwrap();
    let indented = trial
        .lines()
        .map(|line| format!("    {line}").trim_end().to_owned() + "\n");
    assert!(page.contains(&indented.collect::<String>()));
}

/// A process of the test, which ends with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, args: &[&str]) -> Running {
    let mut command = command(folder, args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

#[tokio::test]
async fn a_trial_runs_as_it_is_written_and_commands_find_it_by_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(code(&run(folder, &["init", "trial"])), Some(0));
    let [public, internal, evolink] = [free_port(), free_port(), free_port()];
    replace(
        &folder.join("receiver.toml"),
        &[
            ("8443", &public.to_string()),
            ("8090", &evolink.to_string()),
            (
                "[evolink]",
                &format!("[internal]\nlisten = \"127.0.0.1:{internal}\"\n[evolink]"),
            ),
        ],
    );
    let with_config = |args: &[&'static str]| [args, &["--config", "receiver.toml"]].concat();
    let _receiver = start(folder, &with_config(&["serve"]));
    until("a service that is ready", || {
        code(&run(folder, &with_config(&["healthcheck"]))) == Some(0)
    })
    .await;
    let listen = format!("127.0.0.1:{evolink}");
    let ca = ["--callback-ca-file", "data/self-signed.crt"];
    let simulate = ["simulate", "--allow-private-callbacks", "--listen", &listen];
    let _simulator = start(folder, &[&simulate[..], &ca].concat());
    until("a simulator", || {
        std::net::TcpStream::connect(&listen).is_ok()
    })
    .await;
    let submitted = run(folder, &with_config(&["submit", "a cat", "--wait"]));
    assert_eq!(code(&submitted), Some(0), "{}", stderr(&submitted));
    assert!(
        stdout(&submitted).contains("source      callback"),
        "{}",
        stdout(&submitted)
    );
    // The image sets this variable.
    let mut list = command(folder, &["tasks", "list"]);
    let list = list
        .env("EVOLINK_RECEIVER_CONFIG", "receiver.toml")
        .output()
        .unwrap();
    assert!(stdout(&list).contains("completed"), "{}", stderr(&list));
    // An address that is given comes first.
    let elsewhere = ["tasks", "list", "--url", "http://127.0.0.1:1"];
    let elsewhere = run(folder, &with_config(&elsewhere));
    assert!(
        stderr(&elsewhere).contains("http://127.0.0.1:1:"),
        "{}",
        stderr(&elsewhere)
    );
}
