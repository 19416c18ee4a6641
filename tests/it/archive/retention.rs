//! How long files are kept, and copies that are lost.

use std::time::Duration;

use evolink_receiver::exit::Exit;
use reqwest::Method;
use serde_json::{Value, json};

use super::{archived, archiving, complete};
use crate::support::app::TestApp;
use crate::support::app::answer::{get, send};
use crate::support::files::{Given, Origin, png};
use crate::support::process::command;
use crate::support::until::until;

/// The path of the copy with this digest.
fn copy(app: &TestApp, sha256: &Value) -> std::path::PathBuf {
    let sha256 = sha256.as_str().unwrap();
    app.folder()
        .join("results")
        .join(&sha256[..2])
        .join(&sha256[2..])
}

#[tokio::test]
async fn a_damaged_or_missing_copy_is_found_and_fetched_again() {
    let origin = Origin::start(|asked| Given::File(png(asked.path.len() as u64, 1000))).await;
    let app = archiving().start().await;
    let urls = ["a", "bb", "ccc"].map(|name| origin.url(name));
    complete(&app, "web", "task-1", &urls).await;
    let shown = archived(&app, "task-1").await;
    let verify = || async {
        send(app.request(Method::POST, "/v1/archive/verify"))
            .await
            .body
    };
    let verified = verify().await;
    assert_eq!(
        (&verified["verified"], &verified["damaged"]),
        (&json!(3), &json!([]))
    );
    assert_eq!(verified["next"], Value::Null);
    std::fs::remove_file(copy(&app, &shown[0]["sha256"])).unwrap();
    std::fs::write(copy(&app, &shown[1]["sha256"]), "rot").unwrap();
    let verified = verify().await;
    let damaged = verified["damaged"].as_array().unwrap();
    let reasons: Vec<&str> = damaged
        .iter()
        .map(|file| file["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        ["its copy is missing in the archive", "its copy is damaged"]
    );
    assert!(damaged.iter().all(|file| file["is_fetched_again"] == true));
    until("they are fetched again", || origin.count() == 5).await;
    archived(&app, "task-1").await;
    assert_eq!(verify().await["damaged"], json!([]));
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_copy_that_is_missing_when_it_is_asked_for_is_fetched_again() {
    let file = png(1, 1000);
    let given = file.clone();
    let origin = Origin::start(move |_| Given::File(given.clone())).await;
    let app = archiving().start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    let shown = archived(&app, "task-1").await;
    std::fs::remove_file(copy(&app, &shown[0]["sha256"])).unwrap();
    let path = "/v1/tasks/task-1/results/0";
    let lost = get(&app, path).await;
    lost.assert_error(503, "not_archived", None, "at first");
    let found = app.request(Method::GET, path).send().await.unwrap();
    assert_eq!(found.bytes().await.unwrap(), file);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_copy_that_is_lost_after_evolink_has_deleted_its_own_is_gone_until_it_is_put_back() {
    let origin = Origin::start(|_| Given::File(png(1, 1000))).await;
    let app = archiving().with_manual_clock().start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    let shown = archived(&app, "task-1").await;
    app.clock.advance(Duration::from_hours(25));
    let copy = copy(&app, &shown[0]["sha256"]);
    let bytes = std::fs::read(&copy).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let path = "/v1/tasks/task-1/results/0";
    for time in ["first", "second"] {
        let lost = get(&app, path).await;
        lost.assert_error(410, "archive_failed", None, time);
    }
    let verified = send(app.request(Method::POST, "/v1/archive/verify")).await;
    assert_eq!(verified.body["damaged"][0]["is_fetched_again"], false);
    let verified = command::run(&app, &["archive", "verify"]).await;
    assert_eq!(verified.code, Some(65));
    let said = "its copy is missing in the archive: EvoLink does not offer it any more\n";
    assert!(verified.stdout.contains(said), "{}", verified.stdout);
    std::fs::write(&copy, &bytes).unwrap();
    let found = app.request(Method::GET, path).send().await.unwrap();
    assert_eq!(found.bytes().await.unwrap(), bytes);
    assert_eq!(origin.count(), 1);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn what_was_kept_for_its_retention_is_gone_and_says_so() {
    let origin = Origin::start(|_| Given::File(png(1, 1000))).await;
    let builder = archiving().with_manual_clock();
    let app = builder.start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    let shown = archived(&app, "task-1").await;
    assert!(copy(&app, &shown[0]["sha256"]).exists());
    app.clock.advance(Duration::from_hours(24 * 31));
    // The sweep comes soon after a start.
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let app = builder.start().await;
    let is_gone = |task: &Value| task["receiver"]["results"][0]["url"].is_null();
    app.task_when("task-1", is_gone).await;
    get(&app, "/v1/tasks/task-1/results/0")
        .await
        .assert_error(410, "result_expired", None, "");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_start_without_the_archive_that_has_the_files_is_refused_and_loses_nothing() {
    let origin = Origin::start(|_| Given::File(png(1, 1000))).await;
    let app = archiving().start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    archived(&app, "task-1").await;
    let (results, away) = (app.folder().join("results"), app.folder().join("away"));
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    std::fs::rename(&results, &away).unwrap();
    let refused = builder.try_build().await.err().unwrap();
    assert_eq!(refused.exit, Exit::Config);
    assert!(
        refused.message.contains("mount the right one"),
        "{}",
        refused.message
    );
    std::fs::write(results.join(".evolink-receiver"), "another0").unwrap();
    let refused = builder.try_build().await.err().unwrap();
    assert!(
        refused.message.contains("another store"),
        "{}",
        refused.message
    );
    std::fs::remove_dir_all(&results).unwrap();
    std::fs::rename(&away, &results).unwrap();
    let app = builder.start().await;
    let kept = app
        .request(Method::GET, "/v1/tasks/task-1/results/0")
        .send()
        .await
        .unwrap();
    assert_eq!(kept.status(), 200);
    assert_eq!(origin.count(), 1);
    app.stop().await.0.unwrap();
}
