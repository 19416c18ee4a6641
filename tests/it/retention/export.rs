//! Tasks are exported before they are deleted, and by a command.

use std::collections::BTreeMap;
use std::path::Path;

use evolink_receiver::task_object::TaskObjects;
use evolink_receiver::workers::janitor::Export;
use serde_json::Value;

use super::Desk;
use crate::support::app::TestApp;
use crate::support::app::callback_body::completed;
use crate::support::process::command;

/// The lines of all files in `folder`.
fn lines(folder: &Path) -> Vec<Value> {
    let mut lines = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    lines
}

fn types(line: &Value) -> Vec<&str> {
    let events = line["events"].as_array().unwrap().iter();
    events
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_task_is_exported_once_with_all_of_its_events_before_any_of_it_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("export");
    let mut desk = Desk::open().await;
    desk.export_to(&to);
    for n in 0..5 {
        desk.failed(&format!("task-{n}")).await;
        desk.deliver(&format!("task-{n}")).await;
    }
    let rejected = desk.intended("rejected").await;
    desk.refused(rejected).await;
    desk.failed("last").await;
    desk.deliver("last").await;
    desk.live(29).await;
    assert!(!to.exists(), "nothing is deleted yet");
    desk.live(70).await;
    assert_eq!(desk.count("task").await, 1);
    desk.assert_whole().await;
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for line in lines(&to) {
        let id = line["task"]["id"].as_str().unwrap().to_owned();
        *found.entry(id.clone()).or_default() += 1;
        let types = types(&line);
        let state = &line["task"]["receiver"]["state"];
        if id.starts_with("task-") {
            assert!(types.contains(&"task.submitted"), "{id}: {types:?}");
            assert!(types.contains(&"task.failed"), "{id}: {types:?}");
            assert_eq!(state, "failed");
        } else if id != "last" {
            assert_eq!(state, "rejected", "{line}");
        }
    }
    // The last task lost its first event, and not its newest one.
    assert_eq!(found.len(), 7, "{found:?}");
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    desk.close().await;
}

#[tokio::test]
async fn nothing_is_deleted_while_the_export_fails() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("export");
    // A file is where the folder should be.
    std::fs::write(&to, "").unwrap();
    let mut desk = Desk::open().await;
    desk.export_to(&to);
    desk.failed("task-1").await;
    desk.deliver("task-1").await;
    desk.failed("last").await;
    desk.deliver("last").await;
    desk.live(6).await;
    for _ in 0..20 {
        desk.clock.advance(super::DAY * 5);
        let _ = desk.try_sweep().await;
    }
    let error = desk.try_sweep().await.unwrap_err().to_string();
    assert!(error.contains("so they are not deleted"), "{error}");
    assert_eq!(desk.count("event").await, 4);
    assert_eq!(desk.count("task").await, 2);
    assert!(desk.metrics.render().contains("retention_paused 1\n"));
    std::fs::remove_file(&to).unwrap();
    desk.sweep().await;
    assert_eq!(desk.count("task").await, 1);
    assert!(desk.metrics.render().contains("retention_paused 0\n"));
    assert_eq!(lines(&to).len(), 2);
    desk.close().await;
}

#[tokio::test]
async fn the_command_exports_tasks_with_their_histories() {
    let app = TestApp::start().await;
    let token = app.standing_token("web");
    for n in 0..3 {
        let recorded = app.callback(&token, completed(&format!("task-{n}"))).await;
        assert_eq!(recorded.0, 200);
    }
    let file = app.folder().join("tasks.jsonl");
    let path = file.to_str().unwrap();
    let arguments = ["tasks", "export", "--before", "2099-01-01", "--out", path];
    let done = command::run(&app, &arguments).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains("3 tasks"), "{}", done.stdout);
    let text = std::fs::read_to_string(&file).unwrap();
    let found: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found.len(), 3);
    for line in &found {
        assert_eq!(line["task"]["status"], "completed");
        assert!(types(line).contains(&"task.completed"), "{line}");
    }
    // Nothing is older, and `-` is the standard output.
    let arguments = ["tasks", "export", "--before", "2020-01-01", "--out", "-"];
    let none = command::run(&app, &arguments).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), ""));
    let arguments = ["tasks", "export", "--before", "0s", "--out", "-"];
    let all = command::run(&app, &arguments).await;
    assert_eq!(all.stdout.lines().count(), 3);
    // A file that cannot be written leaves nothing behind.
    let away = app.folder().join("away/tasks.jsonl");
    let arguments = [
        "tasks",
        "export",
        "--before",
        "0s",
        "--out",
        away.to_str().unwrap(),
    ];
    let refused = command::run(&app, &arguments).await;
    assert_ne!(refused.code, Some(0));
    app.stop().await.0.unwrap();
}

impl Desk {
    fn export_to(&mut self, folder: &Path) {
        let export = Export::new(folder.to_owned(), TaskObjects::default(), &self.holder);
        self.janitor = self.new_janitor(Some(export));
    }
}
