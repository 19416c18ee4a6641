//! Tests of the `backup` and `restore` commands with the real binary: no acknowledged callback is
//! lost, and no command leaves a half-finished result.

mod drill;
mod kill;
mod left_over;
mod postgres;
mod reader;
mod refused;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use evolink_receiver::domain::event::id::EventId;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::support::process::command::command;
use crate::support::process::{Place, Receiver};

async fn run(place: &Place, args: &[&str]) -> Output {
    let mut command = command(place, args);
    spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Runs a command that must succeed, and returns what it prints.
async fn succeed(place: &Place, args: &[&str]) -> String {
    let output = run(place, args).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with `code`, and returns its only line on stderr.
async fn fail(place: &Place, args: &[&str], code: i32) -> String {
    let output = run(place, args).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

/// Returns a path in `folder` as a command-line argument.
fn at(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

async fn events(receiver: &Receiver, query: &str) -> Value {
    let (status, page) = receiver.get(&format!("/v1/events?{query}")).await.unwrap();
    assert_eq!(status, 200, "{page}");
    page
}

async fn newest(receiver: &Receiver) -> EventId {
    let page = events(receiver, "after=0&limit=200").await;
    let mut next = page["next"].as_str().unwrap().to_owned();
    for _ in 0..1000 {
        let page = events(receiver, &format!("after={next}&limit=200")).await;
        if page["next"] == next.as_str() {
            break;
        }
        page["next"].as_str().unwrap().clone_into(&mut next);
    }
    EventId::parse(&next).unwrap()
}

fn modes(folder: &Path) -> Vec<(String, u32)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut modes: Vec<_> = entries
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect();
    modes.sort();
    modes
}
