//! Tests the answers with an archived file: the whole file, a part, or 304.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use tokio::sync::Notify;

use super::{archived, archiving, complete};
use crate::support::files::{Given, Origin, png};

#[tokio::test]
async fn a_file_is_answered_whole_in_part_or_not_at_all_to_a_client_that_has_it() {
    let file = png(1, 5000);
    let given = file.clone();
    let origin = Origin::start(move |_| Given::File(given.clone())).await;
    let app = archiving().start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    let shown = &archived(&app, "task-1").await[0];
    assert_eq!(shown["width"], 8);
    assert_eq!(shown["height"], 4);
    assert_eq!(shown["bytes"], file.len());

    let path = "/v1/tasks/task-1/results/0";
    let whole = app.request(Method::GET, path).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.headers()["content-type"], "image/png");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert_eq!(
        whole.headers()["content-disposition"],
        "inline; filename=\"task-1-0.png\""
    );
    assert_eq!(whole.bytes().await.unwrap(), file);

    let head = app.request(Method::HEAD, path).send().await.unwrap();
    assert_eq!(
        head.headers()["content-length"],
        file.len().to_string().as_str()
    );
    assert_eq!(head.bytes().await.unwrap().len(), 0);

    let part = app
        .request(Method::GET, path)
        .header("range", "bytes=100-199");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), 206);
    let range = format!("bytes 100-199/{}", file.len());
    assert_eq!(part.headers()["content-range"], range.as_str());
    assert_eq!(part.bytes().await.unwrap(), file[100..200]);

    let beyond = app
        .request(Method::GET, path)
        .header("range", "bytes=9999999-");
    let beyond = beyond.send().await.unwrap();
    assert_eq!(beyond.status(), 416);
    assert_eq!(
        beyond.headers()["content-range"],
        format!("bytes */{}", file.len()).as_str()
    );

    let known = app.request(Method::GET, path).header("if-none-match", etag);
    let known = known.send().await.unwrap();
    assert_eq!(known.status(), 304);
    assert_eq!(known.bytes().await.unwrap().len(), 0);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn concurrent_requests_for_a_file_that_is_not_archived_yet_share_one_fetch() {
    let file = png(2, 50_000);
    let given = file.clone();
    let pause = Duration::from_millis(100);
    let origin = Origin::start(move |_| Given::Slowly(given.clone(), pause)).await;
    let app = archiving().start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    let ask = || async {
        let asking = app
            .request(Method::GET, "/v1/tasks/task-1/results/0")
            .send();
        asking.await.unwrap().bytes().await.unwrap()
    };
    let all = futures_util::future::join_all((0..20).map(|_| ask())).await;
    assert!(all.iter().all(|bytes| *bytes == file));
    assert_eq!(origin.count(), 1);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn equal_files_are_stored_once_and_each_task_shows_its_own() {
    let origin =
        Origin::start(|asked| Given::File(png(u64::from(asked.path == "/b.png"), 100))).await;
    let app = archiving().start().await;
    let urls = ["a.png", "b.png", "c.png"].map(|name| origin.url(name));
    complete(&app, "web", "task-1", &urls).await;
    let shown = archived(&app, "task-1").await;
    assert_eq!(shown[0]["sha256"], shown[2]["sha256"]);
    assert_ne!(shown[0]["sha256"], shown[1]["sha256"]);
    let files = walk(&app.folder().join("results"));
    assert_eq!(files, 3, "one for each content, and the marker");
    app.stop().await.0.unwrap();
}

/// The number of files below `folder`.
fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let path = entry.path();
            if path.is_dir() { walk(&path) } else { 1 }
        })
        .sum()
}

#[tokio::test]
async fn urls_in_result_urls_and_result_data_are_archived_too() {
    let origin = Origin::start(|asked| Given::File(png(asked.path.len() as u64, 100))).await;
    let app = archiving().start().await;
    let body = format!(
        r#"{{"id":"task-1","status":"completed","results":["{0}"],"result_urls":["{0}","{1}"],
        "result_data":{{"note":"no URL","cover":"http://127.0.0.1/x"}}}}"#,
        origin.url("a"),
        origin.url("bb"),
    );
    let result = app.callback_result(&app.standing_token("web"), body).await;
    assert_eq!(result, "recorded");
    let shown = archived(&app, "task-1").await;
    let origins: Vec<&str> = shown
        .iter()
        .map(|file| file["origin_url"].as_str().unwrap())
        .collect();
    assert_eq!(origins, [origin.url("a"), origin.url("bb")]);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn our_urls_replace_evolinks_where_that_is_wanted() {
    let origin = Origin::start(|_| Given::File(png(1, 100))).await;
    let builder = archiving().with(|config| {
        config.archive.rewrite_results = true;
        config.internal.base_url = Some("http://receiver:8080/".parse().unwrap());
    });
    let app = builder.start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    archived(&app, "task-1").await;
    let (_, task) = app.get("/v1/tasks/task-1").await;
    let id = task["receiver"]["submission_id"].as_str().unwrap();
    let ours = format!("http://receiver:8080/v1/tasks/{id}/results/0");
    assert_eq!(task["results"], serde_json::json!([ours]));
    assert_eq!(task["receiver"]["results"][0]["url"], ours);
    assert_eq!(
        task["receiver"]["results"][0]["origin_url"],
        origin.url("a.png")
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_file_is_passed_on_while_it_is_being_stored() {
    let file = png(3, 1_000_000);
    let (given, gate) = (file.clone(), Arc::new(Notify::new()));
    let opened = Arc::clone(&gate);
    let origin = Origin::start(move |_| Given::Gated(given.clone(), Arc::clone(&opened))).await;
    let app = archiving().start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    let path = "/v1/tasks/task-1/results/0";
    let mut early = app.request(Method::GET, path).send().await.unwrap();
    assert_eq!(early.status(), 200);
    assert_eq!(early.headers()["content-type"], "image/png");
    assert_eq!(
        early.headers()["content-length"],
        file.len().to_string().as_str()
    );
    let mut got = early.chunk().await.unwrap().unwrap().to_vec();
    let (_, task) = app.get("/v1/tasks/task-1").await;
    assert_eq!(
        task["receiver"]["results"][0]["archived_at"],
        serde_json::Value::Null
    );
    gate.notify_one();
    while let Some(chunk) = early.chunk().await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert!(got == file);
    assert!(archived(&app, "task-1").await[0]["archived_at"].is_string());
    assert_eq!(origin.count(), 1);
    app.stop().await.0.unwrap();
}
