//! Hosts that fail: what is tried again, what is given up, and what apps and operators see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::archive::{archived, archiving, complete};
use crate::support::app::TestApp;
use crate::support::app::answer::{get, send};
use crate::support::files::{Given, Origin, png};
use crate::support::net::raw_server::{End, RawServer};
use crate::support::until::until;

const GAVE_UP: &str = "evolink_receiver_result_fetches_total{result=\"gave_up\"}";
const FAILED: &str = "evolink_receiver_result_fetches_total{result=\"failed\"}";

async fn types(app: &TestApp) -> Vec<String> {
    let (_, feed) = app.get("/v1/events").await;
    let events = feed["data"].as_array().unwrap().iter();
    events
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_is_no_picture_is_given_up_with_its_reason_and_nothing_is_kept() {
    let origin = Origin::start(|asked| match asked.path.as_str() {
        "/html" => Given::Page(
            "image/png",
            b"<!DOCTYPE html><script>alert(1)</script>".to_vec(),
        ),
        "/svg" => Given::Page(
            "image/svg+xml",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
        ),
        _ => Given::File(png(1, 100)),
    })
    .await;
    let app = archiving().with_manual_clock().start().await;
    let urls = ["html", "svg", "good"].map(|name| origin.url(name));
    let foreign = "https://elsewhere.example/x.png".to_owned();
    let inside = "http://169.254.169.254/latest".to_owned();
    let urls = [&urls[..], &[foreign, inside]].concat();
    complete(&app, "web", "task-1", &urls).await;
    // A page may be that of a maintenance, so it is asked for a few times.
    for (failed, pause) in [(1, 3), (2, 12)] {
        until("the pages are refused", || app.counter(FAILED) == failed).await;
        app.clock.advance(Duration::from_secs(pause));
    }
    let shown = archived(&app, "task-1").await;
    for (number, reason) in [
        (0, "HTML"),
        (1, "SVG"),
        (3, "archive.allowed_hosts"),
        (4, "address"),
    ] {
        let file: &Value = &shown[number];
        let error = file["error"].as_str().unwrap();
        assert!(error.contains(reason), "{number}: {error}");
        assert_eq!(
            (&file["url"], &file["sha256"]),
            (&Value::Null, &Value::Null)
        );
        let path = format!("/v1/tasks/task-1/results/{number}");
        let gone = get(&app, &path).await;
        gone.assert_error(410, "archive_failed", None, &path);
    }
    assert!(shown[2]["archived_at"].is_string());
    assert_eq!(app.counter(GAVE_UP), 4);
    assert_eq!(types(&app).await, ["task.completed", "task.archived"]);
    app.stop().await.0.unwrap();
}

/// PostgreSQL cannot store U+0000, and a callback that cannot be stored would come again for ever.
#[tokio::test]
async fn a_url_with_a_null_character_is_given_up_and_the_others_are_archived() {
    let origin = Origin::start(|_| Given::File(png(1, 100))).await;
    let app = archiving().start().await;
    let urls = ["a\0b.png", "\0", "good.png"].map(|name| origin.url(name));
    complete(&app, "web", "task-1", &urls).await;
    let shown = archived(&app, "task-1").await;
    for number in [0, 1] {
        let error = shown[number]["error"].as_str().unwrap();
        assert!(error.contains("a control character"), "{error}");
        let origin_url = urls[number].replace('\0', "\u{fffd}");
        assert_eq!(shown[number]["origin_url"], origin_url);
    }
    assert!(shown[2]["archived_at"].is_string());
    assert_eq!(origin.count(), 1);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_host_that_fails_is_asked_again_until_it_answers() {
    let origin = Origin::start(|asked| match asked.nth {
        1 => Given::Status(503),
        2 => Given::Truncated(png(1, 3000)[..500].to_vec(), 2000),
        _ => Given::File(png(1, 3000)),
    })
    .await;
    let app = archiving().with_manual_clock().start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    until("the first fetch fails", || app.counter(FAILED) == 1).await;
    let (_, task) = app.get("/v1/tasks/task-1").await;
    let file = &task["receiver"]["results"][0];
    assert_eq!(file["error"], "the server answered 503");
    assert!(file["url"].is_string(), "it may still come");
    app.clock.advance(Duration::from_secs(3));
    until("the second fetch fails", || app.counter(FAILED) == 2).await;
    app.clock.advance(Duration::from_secs(12));
    let shown = archived(&app, "task-1").await;
    assert_eq!((&shown[0]["error"], origin.count()), (&Value::Null, 3));
    assert_eq!(types(&app).await, ["task.completed", "task.archived"]);
    app.stop().await.0.unwrap();
}

/// Keeps the host of a file down for `hours`. Returns the file as the task shows it afterwards.
async fn after_an_outage(hours: u64) -> Value {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let origin = Origin::start(move |_| {
        if up.load(Ordering::Relaxed) {
            Given::File(png(1, 100))
        } else {
            Given::Status(500)
        }
    })
    .await;
    let app = archiving().with_manual_clock().start().await;
    complete(&app, "web", "task-1", &[origin.url("a.png")]).await;
    until("a first fetch", || app.counter(FAILED) > 0).await;
    // Each step is longer than the longest gap between two fetches.
    for _ in 0..hours {
        let before = app.counter(FAILED);
        app.clock.advance(Duration::from_hours(1));
        let is_over = || app.counter(GAVE_UP) > 0 || app.counter(FAILED) > before;
        until("a fetch", is_over).await;
    }
    is_up.store(true, Ordering::Relaxed);
    app.clock.advance(Duration::from_hours(1));
    let shown = archived(&app, "task-1").await;
    assert_eq!(types(&app).await, ["task.completed", "task.archived"]);
    app.stop().await.0.unwrap();
    shown[0].clone()
}

#[tokio::test]
async fn a_file_is_archived_if_its_host_is_back_within_a_day() {
    let file = after_an_outage(22).await;
    assert!(file["archived_at"].is_string(), "{file}");
    assert_eq!(file["error"], Value::Null);
}

#[tokio::test]
async fn a_file_whose_host_is_down_for_longer_than_evolink_offers_it_is_given_up() {
    let file = after_an_outage(25).await;
    assert_eq!(
        (&file["url"], &file["archived_at"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(file["error"], "the server answered 500");
}

#[tokio::test]
async fn evolink_is_asked_once_for_a_fresh_url() {
    let origin = Origin::start(|asked| match asked.path.as_str() {
        "/fresh.png" => Given::File(png(1, 100)),
        _ => Given::Status(403),
    })
    .await;
    let fresh = json!([origin.url("fresh.png"), origin.url("also-gone.png")]);
    let body = json!({"id": "task-1", "status": "completed", "results": fresh}).to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let evolink = RawServer::start(answer.into_bytes(), End::Open).await;
    let url = evolink.url.parse().unwrap();
    let builder = archiving().with(|config| config.evolink.base_url = url);
    let app = builder.start().await;
    let old = ["old-0.png", "old-1.png"].map(|name| origin.url(name));
    complete(&app, "web", "task-1", &old).await;
    let shown = archived(&app, "task-1").await;
    assert!(shown[0]["archived_at"].is_string(), "{shown:?}");
    assert_eq!(shown[0]["origin_url"], origin.url("old-0.png"));
    assert_eq!(shown[1]["error"], "the server answered 403");
    let paths: Vec<String> = origin.asked().into_iter().map(|asked| asked.path).collect();
    for (path, times) in [
        ("/old-0.png", 1),
        ("/old-1.png", 1),
        ("/fresh.png", 1),
        ("/also-gone.png", 1),
    ] {
        assert_eq!(
            paths.iter().filter(|asked| *asked == path).count(),
            times,
            "{paths:?}"
        );
    }
    let key = origin
        .asked()
        .iter()
        .any(|asked| asked.headers.contains_key("authorization"));
    assert!(!key, "the host of a file never sees EvoLink's key");

    // An operator has the other one tried again.
    let retried = send(app.request(reqwest::Method::POST, "/v1/archive/retry?task=task-1")).await;
    assert_eq!(retried.body, json!({"retried": 1, "more": false}));
    until("it is fetched again", || app.counter(GAVE_UP) == 2).await;
    let retried = send(app.request(reqwest::Method::POST, "/v1/archive/retry")).await;
    assert_eq!(retried.body, json!({"retried": 1, "more": false}));
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn an_evolink_that_names_another_url_each_time_is_asked_once() {
    let origin = Origin::start(|_| Given::Status(403)).await;
    let (address, polls) = (origin.address, AtomicUsize::new(0));
    let answers = move |_: &str| {
        let poll = polls.fetch_add(1, Ordering::Relaxed) + 1;
        let url = format!("http://{address}/fresh-{poll}.png");
        let body = json!({"id": "task-1", "status": "completed", "results": [url]}).to_string();
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    };
    let evolink = RawServer::start_slow(Duration::ZERO, answers).await;
    let url = evolink.url.parse().unwrap();
    let builder = archiving().with(|config| config.evolink.base_url = url);
    let app = builder.start().await;
    complete(&app, "web", "task-1", &[origin.url("old.png")]).await;
    let shown = archived(&app, "task-1").await;
    assert_eq!(shown[0]["error"], "the server answered 403");
    let paths: Vec<String> = origin.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/old.png", "/fresh-1.png"]);
    app.stop().await.0.unwrap();
}
