//! `GET /v1/tasks/{id}/events`: the history of a task.

use evolink_receiver::simulator::Options;
use serde_json::{Value, json};

use super::submitted::pending;
use crate::internal::calls::{PENDING_ID, completed, generation, submission, submit};
use crate::support::app::TestApp;
use crate::support::app::answer::{get, send};
use crate::support::net::raw_server::{End, RawServer, http};

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
    // Sorted, because an observation and its event have the same time.
    found.sort();
    let mut wanted = vec![
        "submit submit begun",
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
        let told = items.iter().filter(|item| item["type"] != "submit");
        told.filter(move |item| item["seq"].is_i64() == is_event)
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
async fn what_could_not_be_applied_is_in_the_same_history_and_leads_to_its_bytes() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let (id, submission_id, token) = pending(&app).await;
    for _ in 0..3 {
        assert_eq!(app.callback(&token, "not a task").await.0, 400);
    }
    assert_eq!(app.callback(&token, completed("task-another")).await.0, 409);
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    let failed = json!({"id": id, "status": "failed"}).to_string();
    assert_eq!(
        app.callback_result(&token, failed.clone()).await,
        "conflict"
    );
    let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
    let items = history["data"].as_array().unwrap();
    let kept: Vec<&Value> = items
        .iter()
        .filter(|item| item["type"] == "quarantine")
        .collect();
    let told: Vec<_> = kept
        .iter()
        .map(|item| (&item["result"], &item["repeats"], &item["source"]))
        .collect();
    let (callback, zero, two) = (json!("callback"), json!(0), json!(2));
    let wanted = [
        (&json!("unreadable"), &two, &callback),
        (&json!("mismatch"), &zero, &callback),
    ];
    assert_eq!(
        told, wanted,
        "a conflict is shown by its observation: {history}"
    );
    assert!(
        kept[0]["reason"].as_str().unwrap().contains("JSON"),
        "{history}"
    );
    assert_eq!(kept[0]["subject"], json!(submission_id));
    assert_eq!(
        (&kept[0]["replayed_at"], &kept[0]["replay_result"]),
        (&Value::Null, &Value::Null)
    );
    let conflict = items
        .iter()
        .find(|item| item["result"] == "conflict")
        .unwrap();
    let entry = get(
        &app,
        &format!("/v1/quarantine/{}", conflict["quarantine_id"]),
    )
    .await
    .body;
    assert_eq!(
        (&entry["kind"], &entry["body"]),
        (&json!("conflict"), &json!(failed))
    );
    let entry = get(
        &app,
        &format!("/v1/quarantine/{}", kept[0]["quarantine_id"]),
    )
    .await
    .body;
    assert_eq!(entry["body"], "not a task");
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
async fn of_a_submit_without_an_answer_it_is_told_when_it_began_and_how_it_ended() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    for (fault, end) in [("no-quota", "refused"), ("reset,duration=10m", "unknown")] {
        let answer = submit(&app, &generation(&format!("[sim:{fault}]"))).await;
        let id = answer.header("x-submission-id").unwrap();
        let history = get(&app, &format!("/v1/tasks/{id}/events")).await;
        assert_eq!(history.status, 200, "{fault}");
        let wanted = ["submit submit begun", &format!("submit submit {end}")];
        assert_eq!(lines(&history.body), wanted, "{fault}");
        let items = history.body["data"].as_array().unwrap();
        assert_eq!(items[0]["after_ms"], 0);
        assert!(items[1]["after_ms"].as_i64().unwrap() >= 0, "{history:?}");
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

/// The app got 504 although a callback had come first.
#[tokio::test]
async fn a_submit_of_unknown_outcome_is_shown_even_if_its_callback_came_first() {
    for fault in ["reset", "garbage"] {
        let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
        let prompt = format!("[sim:early-callback,{fault},duration=0ms]");
        let answer = submit(&app, &generation(&prompt)).await;
        let id = answer.assert_unknown(fault);
        let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
        let found = lines(&history);
        let has = |line: &str| found.iter().any(|found| found == line);
        assert!(has("observation callback recorded"), "{fault}: {found:?}");
        assert!(has("submit submit unknown"), "{fault}: {found:?}");
    }
}

/// The reconciler may end a submit as interrupted at the moment when its answer is recorded.
#[tokio::test]
async fn a_submit_that_was_answered_is_not_shown_as_unknown() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let (id, ..) = pending(&app).await;
    let database = app.database().await;
    let interrupted = "INSERT INTO submit_end (task_seq, result, at)
        SELECT seq, 'unknown', submitted_at FROM task";
    database.execute(interrupted).await;
    let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
    let wanted = [
        "submit submit begun",
        "observation submit recorded",
        "task.submitted submit -",
    ];
    assert_eq!(lines(&history), wanted);
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
