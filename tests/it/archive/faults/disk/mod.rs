//! The archive on a disk of its own, which fills up, turns read-only or is gone. Callbacks go on,
//! and everything is archived once the disk is well again.

mod full;
mod gone;
mod start;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::app::callback_body::completed_with;
use crate::support::files::{Given, Origin, png};
use crate::support::process::Receiver;

/// The receiver may have to wait for a retry that is due a minute later.
const PATIENCE: Duration = Duration::from_secs(150);

const LOOPBACK: &str = r#"allow_networks = ["127.0.0.0/8"]"#;

/// A host with a file of 100 kB for each name.
async fn origin() -> Origin {
    Origin::start(|asked| {
        let number = asked.path.trim_start_matches('/').parse().unwrap();
        Given::File(png(number, 100_000))
    })
    .await
}

/// Completes a task with one file, whose name is the task's number.
async fn complete(receiver: &Receiver, origin: &Origin, number: usize) -> String {
    let id = format!("task-{number}");
    let url = origin.url(&number.to_string());
    let sent = receiver.callback(completed_with(&id, &json!([url])));
    assert_eq!(sent.await, Some((200, None)), "{}", receiver.log_tail());
    id
}

/// Waits until the file of a task is as `wanted`, and returns it.
async fn file_when(receiver: &Receiver, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, task) = receiver.get(&format!("/v1/tasks/{id}")).await.unwrap();
        assert_eq!(status, 200, "{id}: {task}");
        let file = &task["receiver"]["results"][0];
        if wanted(file) {
            return file.clone();
        }
        assert!(Instant::now() < deadline, "{file}\n{}", receiver.log_tail());
        sleep(Duration::from_millis(50)).await;
    }
}

async fn archived(receiver: &Receiver, id: &str) -> Value {
    file_when(receiver, id, |file| file["archived_at"].is_string()).await
}

/// Waits until the fetch of this file has failed, and asserts that it may still come. Returns why.
async fn failed(receiver: &Receiver, id: &str) -> String {
    let file = file_when(receiver, id, |file| file["error"].is_string()).await;
    assert!(file["url"].is_string(), "{file}");
    file["error"].as_str().unwrap().to_owned()
}

/// The status and bytes of a file as an app gets it.
async fn download(receiver: &Receiver, id: &str) -> (u16, Vec<u8>) {
    let url = format!("http://{}/v1/tasks/{id}/results/0", receiver.internal());
    let answer = receiver.http.get(url).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.bytes().await.unwrap().to_vec())
}
