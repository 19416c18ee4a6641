//! The effect of EvoLink's answers to polls on the record (rules B6 and B12).

use serde_json::json;

use super::{
    BY_POLL, ID, accepting, answering, body, builder, event_types, next_poll_after, polls, seconds,
    state, submitted, until_recorded,
};
use crate::support::net::raw_server::{End, http};
use crate::support::until::until;

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
    until("the count", || app.counter(BY_POLL) == 1).await;
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

#[tokio::test]
async fn what_table_e_has_for_submits_changes_nothing_when_it_answers_a_poll() {
    let long = format!(r#"{{"id":"{}","status":"completed"}}"#, "i".repeat(1024));
    let none_of_it = |body: &str| http(200, &[], body);
    // Four at a time, because five failures would count as EvoLink failing as a whole.
    let groups = [
        [
            none_of_it(r#"{"status":"completed","results":["https://h/a"]}"#),
            none_of_it(r#"{"id":7,"status":"completed"}"#),
            none_of_it(r#"{"id":"","status":"completed"}"#),
            none_of_it(&long),
        ],
        [
            none_of_it(r#"["a","completed"]"#),
            http(200, &["content-encoding: gzip"], "x"),
            http(302, &["location: http://127.0.0.1:1/"], "{}"),
            http(408, &[], "{}"),
        ],
        [
            http(400, &[], r#"{"error":{"code":"invalid_request"}}"#),
            http(401, &[], r#"{"error":{"code":401}}"#),
            http(402, &[], r#"{"error":{"code":"quota_exceeded"}}"#),
            none_of_it(r#"{"id":"another-task","status":"failed"}"#),
        ],
    ];
    for group in groups {
        let evolink = accepting(End::Close, move |id| {
            let number = id.rsplit('-').next().unwrap();
            group[number.parse::<usize>().unwrap()].clone()
        })
        .await;
        let url = evolink.url.parse().unwrap();
        let builder = builder().with(|config| config.evolink.base_url = url);
        let app = builder.start().await;
        submitted(&app, 4).await;
        app.clock.advance(seconds(15));
        until_recorded(&app, "SELECT MIN(polls) FROM task", 1).await;
        let database = app.database().await;
        let rows: Vec<(String, i64)> = database
            .rows("SELECT state, next_poll_at - polled_at FROM task", &[])
            .await;
        for (state, gap) in rows {
            assert_eq!(state, "pending");
            assert!((3000..=3750).contains(&gap), "{gap}");
        }
    }
}

#[tokio::test]
async fn e9_an_unknown_status_is_kept_and_asked_about_again() {
    let weird = json!({"id": ID, "status": "weird", "progress": 7, "x": {"y": 1}}).to_string();
    let (app, evolink) = answering(vec![
        http(200, &[], &weird),
        http(200, &[], &body(ID, "completed")),
    ])
    .await;
    app.submitted("a").await;
    next_poll_after(&app, seconds(15), || polls(&evolink), 1).await;
    let task = app.get(&format!("/v1/tasks/{ID}")).await.1;
    assert_eq!(
        (&task["receiver"]["state"], &task["status"], &task["x"]["y"]),
        (&json!("pending"), &json!("weird"), &json!(1))
    );
    next_poll_after(&app, seconds(3), || polls(&evolink), 2).await;
    assert_eq!(state(&app).await, "completed");
}
