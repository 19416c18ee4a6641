//! The libraries with which apps read the stream: each gets all events, and nothing else.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{log, post};
use crate::support::app::TestApp;
use crate::support::machine::needs::{self, Root};
use crate::support::until::until;

struct Client {
    name: &'static str,
    process: Child,
    output: PathBuf,
}

impl Client {
    fn lines(&self) -> Vec<String> {
        let output = fs::read_to_string(&self.output).unwrap();
        output.lines().map(ToOwned::to_owned).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a client for each library, on `url`. `None`, after saying so, where there are none.
fn start(url: &str, folder: &TempDir) -> Option<Vec<Client>> {
    let Some(tools) = needs::tools() else {
        needs::skip("needs the clients that `./test` installs");
        return None;
    };
    let go = "/usr/share/gocode/src/github.com/donovanhide/eventsource";
    let (python, node) = (needs::python(), format!("{tools}/node"));
    if !needs::are_met(Root::NotNeeded, &["node", "go", go, &python, &node]) {
        return None;
    }
    let of_go = folder.path().join("eventsource");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&of_go)
        .arg("tests/sse/eventsource.go")
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", folder.path().join("go"))
        .status();
    assert!(built.unwrap().success());
    let of_go = of_go.to_str().unwrap();
    let other_sseclient = format!("{tools}/sseclient-py");
    let lines: [(&str, &[&str]); 6] = [
        (
            "eventsource",
            &["node", "tests/sse/eventsource.mjs", url, &node],
        ),
        (
            "fetch-event-source",
            &["node", "tests/sse/fetch_event_source.mjs", url, &node],
        ),
        ("sseclient", &[&python, "tests/sse/sseclient.py", url]),
        (
            "sseclient-py",
            &[&python, "tests/sse/sseclient_py.py", url, &other_sseclient],
        ),
        ("httpx-sse", &[&python, "tests/sse/httpx_sse.py", url]),
        ("go", &[of_go, url]),
    ];
    let clients = lines.map(|(name, line)| {
        let output = folder.path().join(format!("{name}.out"));
        let file = || fs::File::options().create(true).append(true).open(&output);
        let process = Command::new(line[0])
            .args(&line[1..])
            .stdout(file().unwrap())
            .stderr(Stdio::from(file().unwrap()))
            .spawn()
            .unwrap();
        Client {
            name,
            process,
            output,
        }
    });
    Some(clients.into())
}

/// A comment comes at the beginning, and after each 15 s in which there is no event for the reader.
#[tokio::test]
async fn common_clients_get_each_event_once_and_no_comment() {
    let app = TestApp::start().await;
    post(&app, 0..1, "completed").await;
    let first = log(&app).await.remove(0);
    let url = format!(
        "http://{}/v1/events?types=task.completed&after={}",
        app.internal, first.id
    );
    let folder = tempfile::tempdir().unwrap();
    let Some(clients) = start(&url, &folder) else {
        return;
    };
    let mut watched = reqwest::Client::new()
        .get(&url)
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    let mut next_comment = async || {
        let mut seen = 0;
        while seen == 0 {
            let chunk = watched.chunk().await.unwrap().unwrap();
            seen = String::from_utf8_lossy(&chunk).matches(": at ").count();
        }
    };
    next_comment().await;
    post(&app, 1..3, "completed").await;
    until("two events for each client", || {
        clients.iter().all(|client| client.lines().len() >= 2)
    })
    .await;
    next_comment().await;
    post(&app, 3..4, "processing").await;
    post(&app, 4..5, "completed").await;
    until("the last event for each client", || {
        clients.iter().all(|client| client.lines().len() >= 3)
    })
    .await;
    // One that reconnects, or takes a comment for an event, would show it by now.
    next_comment().await;
    let all = log(&app).await.into_iter().skip(1);
    let wanted = all.filter(|event| event.kind == "task.completed");
    let wanted: Vec<String> = wanted
        .map(|event| format!("{0} {0} task.completed completed", event.id))
        .collect();
    assert_eq!(wanted.len(), 3);
    for client in &clients {
        assert_eq!(client.lines(), wanted, "{}", client.name);
    }
}
