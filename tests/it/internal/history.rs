//! `GET /v1/tasks/{id}/events`: how a task came to be what it is.

use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::{Value, json};

use super::{PENDING_ID, completed, generation, get, send, submission, submit, token_of};
use crate::support::app::TestApp;
use crate::support::raw::RawClient;
use crate::support::raw_server::{End, RawServer, http};

/// Type, source and result of each item.
fn lines(history: &Value) -> Vec<String> {
    let items = history["data"].as_array().unwrap().iter();
    items
        .map(|item| {
            let word = |name: &str| item[name].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", word("type"), word("source"), word("result"))
        })
        .collect()
}

/// A task at `pending`: its task id, its submission id, its callback token.
async fn pending(app: &TestApp) -> (String, String, String) {
    let answer = submit(app, &generation("[sim:duration=10m]")).await;
    let submission_id = answer.header("x-submission-id").unwrap().to_owned();
    let token = token_of(app, &submission_id);
    (
        answer.body["id"].as_str().unwrap().to_owned(),
        submission_id,
        token,
    )
}

#[tokio::test]
async fn every_observation_and_event_is_told_in_order() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let (id, submission_id, token) = pending(&app).await;
    let body = |status: &str, progress: u8| {
        json!({"id": id, "status": status, "progress": progress, "x": 1}).to_string()
    };
    assert_eq!(
        app.callback_result(&token, body("processing", 40)).await,
        "recorded"
    );
    assert_eq!(
        app.callback_result(&token, body("processing", 20)).await,
        "unchanged"
    );
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "duplicate"
    );
    assert_eq!(
        app.callback_result(&token, body("failed", 100)).await,
        "conflict"
    );

    let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
    let mut found = lines(&history);
    // An observation and its event have the same time.
    found.sort();
    let mut wanted = vec![
        "observation submit recorded",
        "task.submitted submit -",
        "observation callback recorded",
        "task.processing callback -",
        "observation callback unchanged",
        "observation callback recorded",
        "task.completed callback -",
        "observation callback duplicate",
        "observation callback conflict",
        "task.conflict callback -",
    ];
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert_eq!(
        get(&app, &format!("/v1/tasks/{submission_id}/events"))
            .await
            .body,
        history
    );

    let items = history["data"].as_array().unwrap();
    let of = |is_event: bool| {
        items
            .iter()
            .filter(move |item| item["seq"].is_i64() == is_event)
    };
    let seqs: Vec<i64> = of(true).map(|item| item["seq"].as_i64().unwrap()).collect();
    assert!(seqs.is_sorted() && seqs.len() == 4, "{seqs:?}");
    let numbers: Vec<i64> = of(false).map(|item| item["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    let times: Vec<&str> = items
        .iter()
        .map(|item| item["at"].as_str().unwrap())
        .collect();
    assert!(
        times.is_sorted() && times.iter().all(|at| at.len() == 24 && at.ends_with('Z')),
        "{times:?}"
    );
    for item in items {
        assert_eq!(
            (&item["task_id"], &item["submission_id"]),
            (&json!(id), &json!(submission_id))
        );
    }
}

#[tokio::test]
async fn an_event_shows_the_task_as_it_was_and_a_conflict_the_recorded_one() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let (id, _, token) = pending(&app).await;
    let failed =
        json!({"id": id, "status": "failed", "error": {"code": "service_error", "message": "m"}})
            .to_string();
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    assert_eq!(app.callback_result(&token, failed).await, "conflict");
    let task = get(&app, &format!("/v1/tasks/{id}")).await.body;
    let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
    let items = history["data"].as_array().unwrap();
    let event = |kind: &str| &items.iter().find(|item| item["type"] == kind).unwrap()["task"];
    assert_eq!(
        (
            &event("task.submitted")["status"],
            &event("task.submitted")["receiver"]["state"]
        ),
        (&json!("pending"), &json!("pending"))
    );
    assert_eq!(event("task.completed"), &task);
    assert_eq!(event("task.conflict"), &task);
    let conflicting = items
        .iter()
        .find(|item| item["result"] == "conflict")
        .unwrap();
    assert_eq!(conflicting["body"]["status"], "failed");
    assert_eq!(conflicting["body"]["error"]["message"], "m");
}

#[tokio::test]
async fn a_submit_that_was_refused_or_is_in_doubt_has_no_history() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    for fault in ["no-quota", "reset,duration=10m"] {
        let answer = submit(&app, &generation(&format!("[sim:{fault}]"))).await;
        let id = answer.header("x-submission-id").unwrap();
        let history = get(&app, &format!("/v1/tasks/{id}/events")).await;
        assert_eq!(
            (history.status, &history.body),
            (200, &json!({"data": []})),
            "{fault}"
        );
    }
    get(&app, "/v1/tasks/unknown/events").await.assert_error(
        404,
        "task_not_found",
        None,
        "unknown",
    );
    get(&app, "/v1/tasks/a%20b/events").await.assert_error(
        400,
        "invalid_task_id",
        Some("task_id"),
        "malformed",
    );
}

#[tokio::test]
async fn completion_without_results_is_shown_as_completion_by_nobody() {
    let body = format!(r#"{{"id":"{PENDING_ID}","status":"completed"}}"#);
    let evolink = RawServer::start(http(200, &[], &body), End::Close).await;
    let url = evolink.url.parse().unwrap();
    let app = TestApp::builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    let submitted = async || {
        let request = submission(&app, generation("a").to_string());
        send(request.header("idempotency-key", "a-key-of-16-chars")).await
    };
    let (first, replay) = (submitted().await, submitted().await);
    assert_eq!(first.body["status"], "pending");
    assert_eq!(replay.text, first.text);
    let history = get(&app, &format!("/v1/tasks/{PENDING_ID}/events"))
        .await
        .body;
    let items = history["data"].as_array().unwrap();
    let event = items
        .iter()
        .find(|item| item["type"] == "task.submitted")
        .unwrap();
    assert_eq!(event["task"], first.body);
}

#[tokio::test]
async fn what_evolink_said_is_told_to_the_letter() {
    let app = TestApp::start().await;
    let odd = r#"{"id":"task-1","status":"processing","huge":1e999,"exact":0.100000000000000005551115123,"twice":1,"twice":2}"#;
    let token = app.standing_token("shop");
    assert_eq!(app.callback_result(&token, odd).await, "recorded");
    let history = get(&app, "/v1/tasks/task-1/events").await;
    assert_eq!(history.status, 200, "{history:?}");
    assert_eq!(history.header("content-type"), Some("application/json"));
    for number in ["\"huge\":1e999", "\"exact\":0.100000000000000005551115123"] {
        // In the observation, and in the task of its event.
        assert_eq!(history.text.matches(number).count(), 2, "{history:?}");
    }
}

/// Puts 200 observations of the largest size there, as many as are kept of a task that only repeats itself.
async fn long_history(app: &TestApp) {
    let database = app.database().await;
    let body = r#"{"id":"task-big","status":"processing","x":""#;
    let numbers = "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 199)";
    database
        .execute(&format!(
            "INSERT INTO task (seq, submission_id, task_id, origin, state, progress, observations, shown, submitted_at, polls,
                empty_polls, missed_polls)
            VALUES (1, '01994d1a-0000-7000-8000-000000000000', 'task-big', 'submit', 'processing', 0, 200, 0, 0, 0, 0, 0);
            {numbers} INSERT INTO observation (id, source, result, at, body)
            SELECT 1024 + n, 'callback', 'recorded', n, {} FROM n;
            {numbers} INSERT INTO event (task_seq, type, source, observation, at)
            SELECT 1, 'task.processing', 'callback', n, n FROM n",
            database.either(
                format!("CAST('{body}' || printf('%.*c', 262000, 'x') || '\"}}' AS BLOB)"),
                format!("convert_to('{body}' || repeat('x', 262000) || '\"}}', 'UTF8')"),
            )
        ))
        .await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_history_is_told_and_holds_up_nobody_however_slowly_it_is_read() {
    let app = TestApp::start().await;
    long_history(&app).await;
    let mut idle = Vec::new();
    // More than there are connections to either database.
    for _ in 0..12 {
        let mut client = RawClient::connect_plain(app.internal).await;
        let request = "GET /v1/tasks/task-big/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client.send(request).await;
        // It has begun, and will not end before somebody reads.
        assert!(client.take_line().await.contains("200"));
        idle.push(client);
    }
    let mut answer = app
        .request(Method::GET, "/v1/tasks/task-big/events")
        .send()
        .await
        .unwrap();
    let mut bytes = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        bytes += chunk.len();
    }
    // Every body is in its observation and in its event.
    assert!(bytes > 2 * 200 * 262_000, "{bytes}");
    assert_eq!(get(&app, "/v1/tasks/task-big").await.status, 200);
    assert_eq!(app.get("/v1/tasks?limit=5").await.0, 200);
    drop(idle);
}
