//! The whole history of a task is returned: each body unchanged, and any number of them.

use reqwest::Method;

use crate::support::app::TestApp;
use crate::support::app::answer::get;
use crate::support::net::raw::RawClient;

#[tokio::test]
async fn the_history_has_evolinks_bodies_byte_for_byte() {
    let app = TestApp::start().await;
    let odd = r#"{"id":"task-1","status":"processing","huge":1e999,"exact":0.100000000000000005551115123,"twice":1,"twice":2}"#;
    let token = app.standing_token("shop");
    assert_eq!(app.callback_result(&token, odd).await, "recorded");
    let history = get(&app, "/v1/tasks/task-1/events").await;
    assert_eq!(history.status, 200, "{history:?}");
    assert_eq!(history.header("content-type"), Some("application/json"));
    for number in ["\"huge\":1e999", "\"exact\":0.100000000000000005551115123"] {
        // Once in the observation, and once in the task of its event.
        assert_eq!(history.text.matches(number).count(), 2, "{history:?}");
    }
}

/// Inserts 200 observations of the largest size: as many as are kept of a task that only repeats
/// itself.
async fn long_history(app: &TestApp) {
    let database = app.database().await;
    let body = r#"{"id":"task-big","status":"processing","x":""#;
    let numbers = "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 199)";
    database
        .execute(&format!(
            "INSERT INTO task (seq, submission_id, task_id, origin, state, progress, source, observations, shown, submitted_at, polls,
                empty_polls, missed_polls)
            VALUES (1, '01994d1a-0000-7000-8000-000000000000', 'task-big', 'submit', 'processing', 0, 'callback', 200, 0, 0, 0, 0, 0);
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
async fn the_longest_history_is_sent_and_delays_no_other_request() {
    let app = TestApp::start().await;
    long_history(&app).await;
    let mut idle = Vec::new();
    // More than there are connections to either database.
    for _ in 0..12 {
        let mut client = RawClient::connect_plain(app.internal).await;
        let request = "GET /v1/tasks/task-big/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client.send(request).await;
        // The response has begun, and it cannot end before the client reads it.
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
