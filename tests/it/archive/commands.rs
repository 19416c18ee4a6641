//! The commands that work on archived files.

use evolink_receiver::simulator::Options;

use super::{archived, archiving, complete};
use crate::support::app::TestApp;
use crate::support::files::{Given, Origin, png};
use crate::support::process::command;

#[tokio::test]
async fn results_get_writes_the_whole_file_or_nothing() {
    let file = png(1, 3000);
    let given = file.clone();
    let origin = Origin::start(move |asked| match asked.path.as_str() {
        "/a.png" => Given::File(given.clone()),
        _ => Given::Page("text/html", b"<html></html>".to_vec()),
    })
    .await;
    let app = archiving().start().await;
    complete(
        &app,
        "web",
        "task-1",
        &[origin.url("a.png"), origin.url("b.png")],
    )
    .await;
    archived(&app, "task-1").await;
    let out = app.folder().join("picture.png");
    let path = out.to_str().unwrap();
    let got = command::run(&app, &["results", "get", "task-1", "--out", path]).await;
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    assert_eq!(std::fs::read(&out).unwrap(), file);
    let got = command::run(&app, &["results", "get", "task-1", "1", "--out", path]).await;
    assert_eq!(got.code, Some(64), "{}", got.stderr);
    assert_eq!(std::fs::read(&out).unwrap(), file, "it is as it was");
    let folder = app.folder().read_dir().unwrap();
    let drafts = folder.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".part")
    });
    assert_eq!(drafts.count(), 0);

    let retried = command::run(&app, &["archive", "retry", "--task", "task-1"]).await;
    assert_eq!(retried.stdout, "1 files will be fetched again\n");
    let verified = command::run(&app, &["archive", "verify"]).await;
    let length = file.len();
    assert_eq!(
        verified.stdout,
        format!("1 files verified, {length} bytes, 0 damaged or missing\n")
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn submit_downloads_the_picture_of_a_task_that_completed() {
    let (app, _simulator) = archiving().start_with_simulator(Options::default()).await;
    let out = app.folder().join("cat.webp");
    let path = out.to_str().unwrap();
    let prompt = "a cat [sim:duration=200ms]";
    let done = command::run(&app, &["submit", prompt, "--wait", "--out", path]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let file = std::fs::read(&out).unwrap();
    assert_eq!(&file[8..12], b"WEBP");
    assert!(is_nothing_else_left(&app), "a draft is left");
    app.stop().await.0.unwrap();
}

fn is_nothing_else_left(app: &TestApp) -> bool {
    let mut entries = app.folder().read_dir().unwrap();
    !entries.any(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".part")
    })
}
