//! One task by either of its ids, credits, health and metrics; and that no read ever writes.

use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::{Value, json};

use crate::internal::calls::{PENDING, completed, generation, row_counts, submit, token_of};
use crate::support::app::TestApp;
use crate::support::app::answer::{get, send};
use crate::support::net::raw_server::{End, RawServer, http};

#[tokio::test]
async fn a_client_written_for_evolink_works_unchanged() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    // EvoLink's own curl example, with its body and headers.
    let example = "\n{\n  \"model\": \"z-image-turbo\",\n  \"prompt\": \"a cute cat\",\n  \"size\": \"1:1\"\n}\n";
    let request = app
        .request(Method::POST, "/v1/images/generations")
        .header("authorization", "Bearer <token>")
        .header("content-type", "application/json")
        .body(example);
    let task = send(request).await;
    assert_eq!(task.status, 200);
    let documented: Value = serde_json::from_str(PENDING).unwrap();
    for (name, value) in documented.as_object().unwrap() {
        let same_type = std::mem::discriminant(&task.body[name]) == std::mem::discriminant(value);
        assert!(same_type, "{name}: {}", task.body[name]);
    }
    for name in ["model", "object", "progress", "status", "type"] {
        assert_eq!(task.body[name], documented[name]);
    }
    let id = task.body["id"].as_str().unwrap();
    let done = app
        .task_when(id, |task| task["status"] == "completed")
        .await;
    assert!(done["results"][0].is_string());
}

#[tokio::test]
async fn a_task_answers_to_both_its_names() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let task = submit(&app, &generation("[sim:duration=10m]")).await;
    let by_task = get(
        &app,
        &format!("/v1/tasks/{}", task.body["id"].as_str().unwrap()),
    )
    .await;
    let by_submission = get(
        &app,
        &format!("/v1/tasks/{}", task.header("x-submission-id").unwrap()),
    )
    .await;
    assert_eq!((by_task.status, &by_task.text), (200, &task.text));
    assert_eq!(
        (by_submission.status, &by_submission.text),
        (200, &task.text)
    );
}

#[tokio::test]
async fn v1_absent_and_malformed_ids() {
    let app = TestApp::start().await;
    for id in [
        "task-unified-1-absent",
        "01920000-0000-7000-8000-000000000000",
        "x",
    ] {
        get(&app, &format!("/v1/tasks/{id}"))
            .await
            .assert_error(404, "task_not_found", None, id);
    }
    let long = "a".repeat(10_000);
    for id in [
        "%00",
        "..%2f",
        "a%20b",
        "%FF",
        "a%27--",
        "~web",
        &long,
        &"a".repeat(129),
    ] {
        get(&app, &format!("/v1/tasks/{id}")).await.assert_error(
            400,
            "invalid_task_id",
            Some("task_id"),
            id,
        );
    }
}

#[tokio::test]
async fn members_that_nobody_documented_are_shown_as_they_came() {
    let body = r#"{"id":"task-unified-1-x","status":"completed","results":["https://files.evolink.ai/a.webp?s=1","https://files.evolink.ai/b.webp"],"result_data":[{"a":0.10}],"billing":{"charge_status":"charged"},"__proto__":{"$ref":1},"receiver":"theirs"}"#;
    let evolink = RawServer::start(http(200, &[], body), End::Close).await;
    let app = TestApp::builder()
        .with(|config| config.evolink.base_url = evolink.url.parse().unwrap())
        .start()
        .await;
    submit(&app, &generation("a")).await;
    let task = get(&app, "/v1/tasks/task-unified-1-x").await;
    let theirs = task.text.split_once(",\"receiver\":{").unwrap().0;
    assert_eq!(format!("{theirs},\"receiver\":\"theirs\"}}"), body);
    let results = task.body["receiver"]["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(
        results[0]["origin_url"],
        "https://files.evolink.ai/a.webp?s=1"
    );
    assert!(results[0]["expires_at"].is_string() && results[0]["url"].is_null());
}

#[tokio::test]
async fn credits_are_evolinks_own_answer() {
    let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
    let url = format!("{}/v1/credits", evolink.base_url());
    let theirs = app
        .http
        .get(url)
        .bearer_auth("x")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let ours = get(&app, "/v1/credits").await;
    assert_eq!((ours.status, ours.text), (200, theirs));
    assert_eq!(ours.body["success"], true);

    let refusing = RawServer::start(
        http(429, &["retry-after: 9"], "{\"error\":{\"code\":1}}"),
        End::Close,
    )
    .await;
    let app = TestApp::builder()
        .with(|config| config.evolink.base_url = refusing.url.parse().unwrap())
        .start()
        .await;
    let answer = get(&app, "/v1/credits").await;
    assert_eq!(
        (
            answer.status,
            answer.text.as_str(),
            answer.header("retry-after")
        ),
        (429, "{\"error\":{\"code\":1}}", Some("9"))
    );

    let page = RawServer::start(http(200, &[], "<html>"), End::Close).await;
    let app = TestApp::builder()
        .with(|config| config.evolink.base_url = page.url.parse().unwrap())
        .start()
        .await;
    let answer = get(&app, "/v1/credits").await;
    answer.assert_error(502, "evolink_unreadable", None, "a page");

    let garbage = RawServer::start(b"garbage\r\n\r\n".to_vec(), End::Close).await;
    let app = TestApp::builder()
        .with(|config| config.evolink.base_url = garbage.url.parse().unwrap())
        .start()
        .await;
    get(&app, "/v1/credits")
        .await
        .assert_error(502, "evolink_unreadable", None, "garbage");
    let app = TestApp::start().await;
    get(&app, "/v1/credits")
        .await
        .assert_error(503, "evolink_unreachable", None, "refused");
}

#[tokio::test]
async fn a_new_receiver_is_live_and_ready_and_has_counted_nothing() {
    let app = TestApp::start().await;
    assert_eq!(get(&app, "/livez").await.status, 200);
    let ready = get(&app, "/readyz").await;
    assert_eq!(
        (ready.status, &ready.body),
        (200, &json!({"status": "ready"}))
    );
    let metrics = get(&app, "/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(
        metrics.text.ends_with("# EOF\n")
            && metrics
                .text
                .contains("evolink_receiver_callbacks_received_total 0")
    );
}

#[tokio::test]
async fn readyz_tells_people_the_state_of_each_part() {
    let rejected =
        r#"{"error":{"code":"unauthorized","message":"m","type":"authentication_error"}}"#;
    let evolink = RawServer::start(http(401, &[], rejected), End::Close).await;
    let url = evolink.url.parse().unwrap();
    let builder = TestApp::builder().with(|config| config.evolink.base_url = url);
    let app = builder.start().await;
    let parts = [
        "writer",
        "reader",
        "evolink",
        "callbacks",
        "endpoints",
        "archive",
        "certificate",
        "disk",
        "self_test",
        "configuration",
    ];
    let ready = get(&app, "/readyz?verbose").await;
    assert_eq!(
        (ready.status, &ready.body["status"]),
        (200, &json!("ready"))
    );
    for part in parts {
        let detail = &ready.body["details"][part];
        assert_eq!(detail["state"], "ok", "{part}: {detail}");
        assert!(
            detail["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    assert_eq!(
        ready.body["details"].as_object().unwrap().len(),
        parts.len()
    );
    get(&app, "/v1/credits").await;
    let ready = get(&app, "/readyz?verbose=1").await;
    let detail = &ready.body["details"]["evolink"];
    assert_eq!((ready.status, &detail["state"]), (200, &json!("failing")));
    let message = detail["message"].as_str().unwrap();
    // The source of this receiver's key.
    assert!(message.ends_with(": look at evolink.api_key"), "{message}");
    assert_eq!(get(&app, "/readyz").await.body, json!({"status": "ready"}));
}

#[tokio::test]
async fn i34_reads_never_write() {
    // The repeat guard is off: it would record the answer to the submit a moment later, which is
    // not the effect of a read.
    let builder =
        TestApp::builder().with(|config| config.submits.repeat_window = std::time::Duration::ZERO);
    let (app, _evolink) = builder.start_with_simulator(Options::default()).await;
    let task = submit(&app, &generation("[sim:duration=10m]")).await;
    let (id, submission_id) = (
        task.body["id"].as_str().unwrap(),
        task.header("x-submission-id").unwrap(),
    );
    let token = token_of(&app, submission_id);
    // With its outcome, the task is not polled any more. So only a read could write from here on.
    assert_eq!(app.callback_result(&token, completed(id)).await, "recorded");
    let database = app.database().await;
    let before = (database.version().await, row_counts(&app).await);
    let paths = [
        format!("/v1/tasks/{id}"),
        format!("/v1/tasks/{submission_id}"),
        format!("/v1/tasks/{id}/events"),
        "/v1/tasks".to_owned(),
        "/v1/tasks?status=completed&limit=1".to_owned(),
        "/v1/tasks?limit=x".to_owned(),
        "/v1/tasks/absent".to_owned(),
        "/v1/tasks/%00".to_owned(),
        "/v1/credits".to_owned(),
        "/livez".to_owned(),
        "/readyz".to_owned(),
        "/metrics".to_owned(),
        "/nothing".to_owned(),
        "/v1/images/generations".to_owned(),
    ];
    for path in paths {
        for method in [Method::GET, Method::HEAD] {
            let status = send(app.request(method, &path)).await.status;
            assert!(status < 500, "{path}: {status}");
        }
        assert_eq!(
            (database.version().await, row_counts(&app).await),
            before,
            "{path}"
        );
    }
}
