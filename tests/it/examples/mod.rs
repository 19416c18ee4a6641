//! The clients of `examples/`, each run as its page says, against a receiver and the simulator.

mod pages;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use evolink_receiver::config::{ApiKey, ByteSize, KeyDigest, Network, Scope};
use evolink_receiver::simulator::{Options, Simulator};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use crate::support::app::TestApp;
use crate::support::deliveries::app::delivering;
use crate::support::deliveries::endpoint::{Endpoint, Received};
use crate::support::deliveries::signatures::{OTHER_SECRET, SECRET};
use crate::support::machine::needs::{Root, are_met, python, skip};
use crate::support::net::ports::free_port;
use crate::support::until::until;

const KEY: &str = "a-key-of-the-examples";

/// A receiver with an archive and an endpoint, and how a client is started.
struct Stage {
    app: TestApp,
    _simulator: Simulator,
    folder: TempDir,
    /// The program and its first arguments.
    client: Vec<String>,
    /// The same of the program that takes webhooks.
    hooks: Vec<String>,
}

impl Stage {
    async fn start(client: &[&str], hooks: &[&str], endpoint: &str) -> Self {
        let builder = TestApp::builder().with(|config| {
            config.archive.enabled = true;
            config.archive.allow_networks = vec![Network::loopback()];
            config.archive.min_free = ByteSize::bytes(0);
            config.internal.api_keys = vec![ApiKey::new(
                "example",
                KeyDigest::of(KEY),
                &[Scope::Submit, Scope::Read],
            )];
        });
        let builder = delivering(builder, &[("example", endpoint)]);
        let (app, simulator) = builder.start_with_simulator(Options::default()).await;
        Self {
            app,
            _simulator: simulator,
            folder: tempfile::tempdir().unwrap(),
            client: client.iter().map(|&part| part.to_owned()).collect(),
            hooks: hooks.iter().map(|&part| part.to_owned()).collect(),
        }
    }

    fn command(&self, program: &[String], args: &[&str], secret: &str) -> Command {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).args(args);
        command
            .env("RECEIVER_URL", format!("http://{}", self.app.internal))
            .env("RECEIVER_KEY", KEY)
            .env("WEBHOOK_SECRET", secret)
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY");
        command
    }

    async fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(&self.client, args, SECRET);
        spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap()
    }

    async fn said(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Submits, waits, downloads, and follows the events. Returns the task id.
    async fn gets_a_picture_and_the_events(&self) -> String {
        let (picture, cursor) = (self.file("cat.webp"), self.file("cursor"));
        let (picture, cursor) = (picture.to_str().unwrap(), cursor.to_str().unwrap());
        let prompt = "a \"cute\" cat [sim:duration=300ms]";
        let said = self.said(&["image", prompt, picture]).await;
        let (id, _) = said.split_once(' ').unwrap();
        let bytes = fs::read(picture).unwrap();
        assert!(bytes.starts_with(b"RIFF"), "{} bytes", bytes.len());

        let is_archived =
            |task: &serde_json::Value| task["receiver"]["results"][0]["archived_at"].is_string();
        let request = self.app.request(
            reqwest::Method::GET,
            &format!("/v1/tasks/{id}?wait=50&for=archived"),
        );
        let task = request.bearer_auth(KEY).send().await.unwrap();
        let task = task.json::<serde_json::Value>().await.unwrap();
        assert!(is_archived(&task), "{task}");
        let events = self.said(&["follow", cursor]).await;
        for event in ["task.submitted", "task.completed", "task.archived"] {
            let line = format!(" {event} {id}\n");
            assert!(events.contains(&line), "{event}: {events}");
        }
        let again = self.said(&["follow", cursor]).await;
        assert_eq!(again, "", "the place is kept");

        let failing = "a sad cat [sim:fail] [sim:duration=100ms]";
        let failed = self.run(&["image", failing, picture]).await;
        assert!(!failed.status.success(), "{failed:?}");
        id.to_owned()
    }
}

/// A client that takes webhooks. It is killed when dropped.
struct Hooks {
    child: Child,
    log: PathBuf,
    address: String,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Hooks {
    async fn start(stage: &Stage, port: u16) -> Self {
        let log = stage.file("hooks.log");
        let mut command = stage.command(&stage.hooks, &[&port.to_string()], SECRET);
        let child = command
            .stdout(File::create(&log).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        let hooks = Self {
            child,
            log,
            address,
        };
        while TcpStream::connect(&hooks.address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        hooks
    }

    async fn logged(&self, text: &str) {
        until(text, || {
            fs::read_to_string(&self.log).unwrap().contains(text)
        })
        .await;
    }
}

async fn serves(client: &[&str], hooks: &[&str]) {
    let port = free_port();
    let stage = Stage::start(client, hooks, &format!("http://127.0.0.1:{port}/hook")).await;
    let hooks = Hooks::start(&stage, port).await;
    let id = stage.gets_a_picture_and_the_events().await;
    hooks.logged(&format!(" {id}\n")).await;
    let forged = reqwest::Client::builder().no_proxy().build().unwrap();
    let forged = forged
        .post(format!("http://{}/hook", hooks.address))
        .header("webhook-id", "forged-1")
        .header("webhook-timestamp", stage.app.clock.wall_now().as_seconds())
        .header(
            "webhook-signature",
            "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        )
        .body("{}");
    assert_eq!(forged.send().await.unwrap().status(), 401);
    hooks.logged("forged-1 refused\n").await;
    stage.app.stop().await.0.unwrap();
}

fn example(path: &str) -> String {
    format!("{}/examples/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn the_client_in_python() {
    let python = python();
    if !are_met(Root::NotNeeded, &[&python]) {
        return;
    }
    let httpx = Command::new(&python).args(["-c", "import httpx"]).output();
    if !httpx.unwrap().status.success() {
        skip("needs httpx");
        return;
    }
    let [client, hooks] = ["receiver", "hooks"].map(|name| example(&format!("python/{name}.py")));
    serves(&[&python, &client], &[&python, &hooks]).await;
}

#[tokio::test]
async fn the_client_in_typescript() {
    if are_met(Root::NotNeeded, &["tsx", "node"]) {
        let file = |name: &str| example(&format!("typescript/{name}.ts"));
        serves(&["tsx", &file("receiver")], &["tsx", &file("hooks")]).await;
    }
}

#[tokio::test]
async fn the_client_in_go() {
    if !are_met(Root::NotNeeded, &["go"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("receiver");
    let mut compile = Command::new("go");
    compile.args(["build", "-o"]).arg(&program).arg(".");
    let built = compile.current_dir(example("go")).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    let program = program.to_str().unwrap();
    serves(&[program], &[program, "hooks"]).await;
}

#[tokio::test]
async fn the_client_in_shell() {
    if !are_met(Root::NotNeeded, &["bash", "curl", "jq", "openssl"]) {
        return;
    }
    let endpoint = Endpoint::good().await;
    let script = example("shell/receiver.sh");
    let stage = Stage::start(&["bash", &script], &[], &endpoint.url()).await;
    let id = stage.gets_a_picture_and_the_events().await;
    let is_it = |received: &&Received| String::from_utf8_lossy(&received.body).contains(&id);
    until("the delivery", || {
        endpoint.received().iter().any(|one| is_it(&one))
    })
    .await;
    let received = endpoint.received();
    let received = received.iter().find(is_it).unwrap();
    let body = stage.file("body.json");
    fs::write(&body, &received.body).unwrap();
    let header = |name: &str| received.headers[name].to_str().unwrap();
    let args = [
        "verify",
        header("webhook-id"),
        header("webhook-timestamp"),
        header("webhook-signature"),
        body.to_str().unwrap(),
    ];
    let said = stage.said(&args).await;
    assert_eq!(said, format!("{} {id}\n", header("webhook-id")));
    let forged = stage
        .command(&stage.client, &args, OTHER_SECRET)
        .output()
        .unwrap();
    assert_eq!(forged.status.code(), Some(1), "{forged:?}");
    stage.app.stop().await.0.unwrap();
}
