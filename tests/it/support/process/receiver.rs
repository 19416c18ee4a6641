//! The program as an operator runs it: a process with a configuration file and a data folder. The
//! tests end it by its own pid.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use evolink_receiver::domain::callback::{KeyRing, Subject};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::place::{PUBLIC_PORT, Place};
use crate::support::described;
use crate::support::until::PATIENCE;

/// A running receiver, which is killed when dropped.
pub struct Receiver {
    child: Child,
    public: SocketAddr,
    pub internal: SocketAddr,
    pub http: described::Client,
    pub token: String,
    pub certificate_pem: String,
    log: PathBuf,
}

impl Place {
    /// Starts the receiver and waits until it is ready.
    pub async fn start(&self) -> Receiver {
        match self.try_start().await {
            Ok(receiver) => receiver,
            Err(refusal) => panic!("{refusal}"),
        }
    }

    /// Starts the receiver. Returns `Err` with its log if it exits instead of becoming ready.
    pub async fn try_start(&self) -> Result<Receiver, String> {
        self.try_start_until("/readyz").await
    }

    /// Starts the receiver and waits until it answers, ready or not.
    pub async fn start_unready(&self) -> Receiver {
        match self.try_start_until("/livez").await {
            Ok(receiver) => receiver,
            Err(refusal) => panic!("{refusal}"),
        }
    }

    async fn try_start_until(&self, path: &str) -> Result<Receiver, String> {
        let (child, log) = self.spawn();
        let mut receiver = Receiver {
            child,
            public: self.public(),
            internal: self.internal(),
            http: described::client(reqwest::Client::builder().no_proxy().build().unwrap()),
            token: String::new(),
            certificate_pem: String::new(),
            log,
        };
        let deadline = Instant::now() + PATIENCE;
        while receiver.status(path).await != Some(200) {
            if let Some(status) = receiver.child.try_wait().unwrap() {
                return Err(format!("ended with {status}:\n{}", receiver.log_tail()));
            }
            assert!(Instant::now() < deadline, "{}", receiver.log_tail());
            sleep(Duration::from_millis(5)).await;
        }
        let ring = std::fs::read_to_string(self.data().join("callback_tokens.key")).unwrap();
        receiver.token = KeyRing::parse(&ring)
            .unwrap()
            .mint(&Subject::Standing("load".parse().unwrap()));
        receiver.certificate_pem =
            std::fs::read_to_string(self.data().join("self-signed.crt")).unwrap();
        let root = reqwest::Certificate::from_pem(receiver.certificate_pem.as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .tls_certs_only([root])
            .resolve("localhost", receiver.public);
        receiver.http = described::client(http.build().unwrap());
        Ok(receiver)
    }
}

impl Receiver {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its memory in KiB, as the system reports it: `VmRSS` is now, `VmHWM` the highest so far.
    pub fn memory_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(field));
        let digits = line.unwrap().split_whitespace().nth(1).unwrap();
        digits.parse().unwrap()
    }

    pub fn public(&self) -> SocketAddr {
        self.public
    }

    pub fn internal(&self) -> SocketAddr {
        self.internal
    }

    pub fn callback_url(&self) -> String {
        format!("https://localhost:{PUBLIC_PORT}/callbacks/{}", self.token)
    }

    /// Sends one callback. Returns the status and `Retry-After`, or `None` if there was no answer.
    pub async fn callback(&self, body: String) -> Option<(u16, Option<String>)> {
        let request = self.http.post(self.callback_url()).body(body);
        let answer = request.send().await.ok()?;
        let retry_after = answer.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        Some((answer.status().as_u16(), retry_after))
    }

    /// Submits. Returns the status and error code, or `None` if there was no answer. EvoLink is
    /// unreachable from here, so a submit that is sent ends in `evolink_unreachable`.
    pub async fn submit(&self) -> Option<(u16, String)> {
        let url = format!("http://{}/v1/images/generations", self.internal);
        let body = serde_json::json!({"model": "z-image-turbo", "prompt": "a cat"});
        let answer = self.http.post(url).json(&body).send().await.ok()?;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.ok()?;
        Some((status, body["error"]["code"].as_str()?.to_owned()))
    }

    /// Returns the status of a GET on the internal listener, or `None` if there was no answer.
    pub async fn status(&self, path: &str) -> Option<u16> {
        Some(self.get(path).await?.0)
    }

    pub async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let url = format!("http://{}{path}", self.internal);
        let answer = self.http.get(url).send().await.ok()?;
        Some((
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        ))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGKILL, and does not wait.
    pub fn terminate_hard(&self) {
        self.signal("KILL");
    }

    /// Stops the receiver as an operator does, so that the store leaves nothing in the log.
    pub async fn stop(mut self) {
        self.terminate();
        assert_eq!(self.ended().await.code(), Some(0), "{}", self.log_tail());
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Does what Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Has the receiver read its configuration and its certificate again.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Freezes the receiver with SIGSTOP: it neither works nor answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Freezes the receiver, and waits until none of its threads is in the kernel any more.
    pub async fn freeze_to_the_last_thread(&self) {
        self.freeze();
        let deadline = Instant::now() + PATIENCE;
        while !self.threads().iter().all(|state| state == "T") {
            assert!(Instant::now() < deadline, "{:?}", self.threads());
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns the state letter of each thread, as the system names it.
    fn threads(&self) -> Vec<String> {
        let folder = format!("/proc/{}/task", self.pid());
        let threads = std::fs::read_dir(folder).unwrap();
        let stats = threads
            .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).ok());
        // The letter follows the name, which is in brackets.
        let letter = |stat: String| stat.rsplit_once(") ").unwrap().1[..1].to_owned();
        stats.map(letter).collect()
    }

    /// Lets a frozen receiver continue.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("sh")
            .args(["-c", r#"kill -"$0" "$1""#, name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits until the receiver exits, by itself or after `terminate`, and returns its exit status.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still there: {}",
                self.log_tail()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
