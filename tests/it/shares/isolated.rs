//! With `internal.isolate_keys`, a key sees only its own tasks. What belongs to another key looks
//! like what does not exist. The feed keeps one numbering for all.

use evolink_receiver::config::Scope;
use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};

use super::{get, key, submit};
use crate::support::app::TestApp;

const OPEN: &str = "[sim:never-ends,lost-callback]";

/// Two apps and an operator.
pub async fn started() -> (TestApp, Simulator) {
    let root = key("root", |key| {
        key.scopes = vec![Scope::Submit, Scope::Read, Scope::Admin];
    });
    let keys = vec![key("web", |_| {}), key("batch", |_| {}), root];
    let builder = TestApp::builder().with(|config| {
        config.internal.api_keys = keys;
        config.internal.isolate_keys = true;
        config.archive.enabled = true;
        config.evolink.pass_unknown_tasks = true;
    });
    builder.start_with_simulator(Options::default()).await
}

fn clients(page: &Value) -> Vec<&str> {
    let rows = page["data"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let task = row.get("task").unwrap_or(row);
            task["receiver"]["client"].as_str().unwrap()
        })
        .collect()
}

#[tokio::test]
async fn lists_and_batches_have_only_own_tasks() {
    let (app, _evolink) = started().await;
    let mut ids = Vec::new();
    for name in ["web", "batch", "web", "batch", "batch"] {
        let accepted = submit(&app, name, OPEN).await;
        ids.push(accepted.body["id"].as_str().unwrap().to_owned());
    }
    for path in [
        "/v1/tasks",
        "/v1/tasks?limit=200&model=z-image-turbo",
        "/v1/tasks?client=web",
    ] {
        let own = get(&app, "web", path).await;
        assert_eq!(clients(&own.body), ["web", "web"], "{path}");
        assert_eq!(own.body["next"], Value::Null, "{path}");
    }
    let foreign = get(&app, "web", "/v1/tasks?client=batch").await;
    assert_eq!(foreign.body, json!({"data": [], "next": null}));
    let first = get(&app, "web", "/v1/tasks?limit=1&status=pending").await;
    let cursor = first.body["next"].as_str().unwrap();
    assert_eq!(first.body["data"][0]["receiver"]["submission_id"], cursor);
    let numbered = get(&app, "web", "/v1/tasks?page=1").await;
    assert_eq!(numbered.body["total"], 2);
    assert_eq!(get(&app, "root", "/v1/tasks?page=1").await.body["total"], 5);
    let wanted = json!({"task_ids": ids});
    for (name, found) in [("web", 2), ("batch", 3), ("root", 5)] {
        let request = app.request(reqwest::Method::POST, "/v1/tasks/batch");
        let request = request.bearer_auth(name).json(&wanted);
        let batch = crate::support::app::answer::send(request).await;
        assert_eq!(
            batch.body["data"].as_array().unwrap().len(),
            found,
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_feed_leaves_foreign_events_out_and_still_says_how_far_it_has_come() {
    let (app, _evolink) = started().await;
    for name in ["web", "batch", "web", "batch"] {
        assert_eq!(submit(&app, name, OPEN).await.status, 200);
    }
    let all = get(&app, "root", "/v1/events").await;
    assert_eq!(clients(&all.body), ["web", "batch", "web", "batch"]);
    let own = get(&app, "web", "/v1/events").await;
    assert_eq!(clients(&own.body), ["web", "web"]);
    assert_eq!(
        (&own.body["next"], &own.body["caught_up"]),
        (&all.body["next"], &json!(true))
    );
    let seqs: Vec<_> = (own.body["data"].as_array().unwrap().iter())
        .map(|event| event["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, [1, 3], "one numbering");
}

#[tokio::test]
async fn a_stream_has_only_own_events() {
    let (app, _evolink) = started().await;
    assert_eq!(submit(&app, "batch", OPEN).await.status, 200);
    let request = app.request(reqwest::Method::GET, "/v1/events?after=0");
    let request = request
        .bearer_auth("web")
        .header("accept", "text/event-stream");
    let mut stream = request.send().await.unwrap();
    // One is read from the log, the other at the end of it.
    assert_eq!(submit(&app, "web", OPEN).await.status, 200);
    let mut seen = String::new();
    while seen.matches("event: ").count() < 1 {
        let chunk = stream.chunk().await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert_eq!(submit(&app, "batch", OPEN).await.status, 200);
    assert_eq!(submit(&app, "web", OPEN).await.status, 200);
    while seen.matches("event: ").count() < 2 {
        let chunk = stream.chunk().await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(!seen.contains(r#""client":"batch""#), "{seen}");
    assert_eq!(seen.matches(r#""client":"web""#).count(), 2, "{seen}");
}
