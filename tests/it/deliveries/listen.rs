//! `listen` and `deliveries test`: a signed test event arrives, is verified, and leaves no trace.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use evolink_receiver::config::Endpoint;
use evolink_receiver::config::OutcomeEvent;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::net::ports::free_port;
use crate::support::process::command::run;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Listening {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Listening {
    /// Starts the command, and waits until it listens.
    fn start(port: u16, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
        command.args(["listen", "--listen", &format!("127.0.0.1:{port}")]);
        command.args(args).env_clear().stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert_eq!(first, format!("endpoint   http://127.0.0.1:{port}/"));
        let (_, _) = (lines.next(), lines.next());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

async fn tested(app: &TestApp, args: &[&str]) -> (Option<i32>, String, String) {
    let ended = run(app, &[&["deliveries", "test"][..], args].concat()).await;
    (ended.code, ended.stdout, ended.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_arrives_signed_and_leaves_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let [secret, other] = [("secret", SECRET), ("other", OTHER)].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let port = free_port();
    let app = TestApp::builder()
        .with(|config| {
            config.forward.endpoints = vec![Endpoint {
                name: "billing".to_owned(),
                url: format!("http://127.0.0.1:{port}/hook").parse().unwrap(),
                secret_file: secret.clone(),
                events: vec![OutcomeEvent::Completed],
            }];
        })
        .start()
        .await;
    let (code, _, says) = tested(&app, &["billing"]).await;
    assert_eq!(code, Some(69));
    assert!(says.contains("billing did not answer: "), "{says}");
    let (code, _, says) = tested(&app, &["nobody"]).await;
    assert_eq!(code, Some(64));
    assert!(says.contains("404 endpoint_not_found"), "{says}");

    let right = ["--secret-file", secret.to_str().unwrap()];
    let mut listening = Listening::start(port, &right);
    let (code, says, _) = tested(&app, &["billing"]).await;
    assert_eq!(code, Some(0));
    assert!(says.starts_with("billing  204, after "), "{says}");
    let line = listening.line();
    let words: Vec<&str> = line.split("  ").collect();
    assert!(words[0].starts_with("test-"), "{line}");
    assert_eq!(words[1..], ["receiver.test", words[0], "verified"]);
    listening.end();

    let wrong = ["--secret-file", other.to_str().unwrap()];
    let mut listening = Listening::start(port, &wrong);
    let (code, _, says) = tested(&app, &["billing"]).await;
    assert_eq!(code, Some(69));
    assert!(says.contains("billing answered 401"), "{says}");
    assert!(
        listening
            .line()
            .ends_with("  BAD SIGNATURE: signature invalid")
    );
    listening.end();

    let mut listening = Listening::start(port, &["--answer", "500"]);
    let (code, says, _) = tested(&app, &["billing", "--json"]).await;
    assert_eq!(code, Some(69));
    let says: Value = serde_json::from_str(&says).unwrap();
    assert_eq!(
        (&says["status"], &says["error"]),
        (&500.into(), &Value::Null)
    );
    assert!(listening.line().ends_with("  not verified"));
    listening.end();

    let (_, page) = app.get("/v1/deliveries").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 0, "{page}");
    app.stop().await.0.unwrap();
}
