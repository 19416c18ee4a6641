//! What EvoLink's answers to polls mean for the record (rules B6 and B12).

use serde_json::json;

use super::{BY_POLL, ID, answering, body, event_types, next_poll_after, polls, seconds, state};
use crate::support::raw_server::http;

#[tokio::test]
async fn b6_the_third_poll_that_names_no_result_makes_it_an_outcome() {
    let empty = http(
        200,
        &[],
        &json!({"id": ID, "status": "completed", "results": []}).to_string(),
    );
    let (app, evolink) = answering(vec![empty]).await;
    app.submitted("a").await;
    for (number, gap) in [15, 3].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
        assert_eq!(state(&app).await, "pending");
    }
    next_poll_after(&app, seconds(6), || polls(&evolink), 3).await;
    let task = app.get(&format!("/v1/tasks/{ID}")).await.1;
    assert_eq!(
        (&task["receiver"]["state"], &task["receiver"]["source"]),
        (&json!("completed"), &json!("poll"))
    );
    assert_eq!(app.counter(BY_POLL), 1);
}

#[tokio::test]
async fn b12_an_answer_about_another_task_is_quarantined_and_changes_nothing() {
    let (app, evolink) = answering(vec![http(
        200,
        &[],
        &body("task-unified-1-another", "completed"),
    )])
    .await;
    app.submitted("a").await;
    let before = app.get(&format!("/v1/tasks/{ID}")).await.1;
    next_poll_after(&app, seconds(15), || polls(&evolink), 1).await;
    assert_eq!(app.get(&format!("/v1/tasks/{ID}")).await.1, before);
    assert_eq!(app.get("/v1/tasks/task-unified-1-another").await.0, 404);
    assert_eq!(event_types(&app, ID).await, ["task.submitted"]);
    let sql = "SELECT task_id, body FROM quarantine";
    let quarantined: Vec<(String, Vec<u8>)> = app.database().await.rows(sql, &[]).await;
    assert_eq!(
        quarantined,
        [(
            "task-unified-1-another".to_owned(),
            body("task-unified-1-another", "completed").into_bytes()
        )]
    );
    next_poll_after(&app, seconds(3), || polls(&evolink), 2).await;
}

#[tokio::test]
async fn polls_that_fail_or_are_no_task_change_nothing_and_go_on() {
    let answers = vec![
        http(500, &[], ""),
        http(200, &[], "<html>"),
        Vec::new(),
        http(403, &[], "{}"),
        http(200, &[], &body(ID, "failed")),
    ];
    let (app, evolink) = answering(answers).await;
    app.submitted("a").await;
    for (number, gap) in [15, 3, 6, 12].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
        assert_eq!(state(&app).await, "pending");
    }
    next_poll_after(&app, seconds(24), || polls(&evolink), 5).await;
    assert_eq!(state(&app).await, "failed");
}
