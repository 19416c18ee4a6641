//! EvoLink's answer to a submit is recorded even if the store refuses it at first, and even if the
//! answer is not a task.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::internal::calls::{generation, row_counts, state, submit, submit_under};
use crate::support::app::answer::get;
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::store::database::{Database, Refused};
use crate::support::until::until;

const ID: &str = "task-unified-1757165031-recorded";

fn told(status: &str) -> String {
    json!({"id": ID, "status": status, "results": ["https://files.evolink.ai/0.webp"]}).to_string()
}

/// An EvoLink that accepts after a second and never calls back. Polls report the task as completed.
async fn evolink() -> RawServer {
    let answers = |request: &str| {
        let status = if request.starts_with("POST ") {
            "pending"
        } else {
            "completed"
        };
        http(200, &[], &told(status))
    };
    RawServer::start_slow(Duration::from_secs(1), answers).await
}

fn builder(evolink: &RawServer) -> TestAppBuilder {
    let url = evolink.url.parse().unwrap();
    TestApp::builder().with(|config| {
        config.evolink.base_url = url;
        config.reconcile.first_poll_after = Duration::from_secs(1);
        config.reconcile.interval_min = Duration::from_secs(1);
    })
}

fn posts(evolink: &RawServer) -> usize {
    let requests = evolink.requests();
    let posts = requests.iter().filter(|head| head.starts_with("POST "));
    posts.count()
}

/// A submit whose intent is recorded and whose acceptance the store refuses for as long as the app
/// waits.
async fn refused(app: &TestApp, evolink: &RawServer, locked: bool) -> (String, Database) {
    let database = app.database().await;
    let body = generation("a");
    let refusing = async {
        until("EvoLink has the submit", || posts(evolink) == 1).await;
        if locked {
            database.hold_writes().await;
        } else {
            database
                .refuse(Refused::ObservationsWith(ID), "ABORT")
                .await;
        }
    };
    let (answer, ()) = tokio::join!(submit(app, &body), refusing);
    (answer.assert_unknown("not recorded yet"), database)
}

async fn relent(database: &Database, locked: bool) {
    if locked {
        database.let_write().await;
    } else {
        database.stop_refusing().await;
    }
}

async fn accepted_in_the_end(locked: bool) {
    let evolink = evolink().await;
    let app = builder(&evolink).start().await;
    let (id, database) = refused(&app, &evolink, locked).await;
    assert_eq!(state(&app, &id).await, "submitting");
    relent(&database, locked).await;
    let task = app
        .task_when(&id, |task| task["receiver"]["state"] == "completed")
        .await;
    assert_eq!(task["id"], ID);
    assert_eq!(task["receiver"]["source"], "poll");
    assert_eq!(posts(&evolink), 1);
}

#[tokio::test]
async fn an_acceptance_that_the_store_refuses_is_recorded_when_it_takes_it_again() {
    accepted_in_the_end(false).await;
}

#[tokio::test]
async fn an_acceptance_is_recorded_when_a_store_that_is_locked_is_free_again() {
    accepted_in_the_end(true).await;
}

#[tokio::test]
async fn a_stop_has_it_tried_once_more() {
    let evolink = evolink().await;
    let builder = builder(&evolink);
    let builder = builder.with(|config| config.public.drain_timeout = Duration::from_millis(200));
    let app = builder.start().await;
    let (id, database) = refused(&app, &evolink, false).await;
    relent(&database, false).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let app = builder.start().await;
    assert_eq!(get(&app, &format!("/v1/tasks/{id}")).await.body["id"], ID);
}

fn lines(history: &Value) -> Vec<String> {
    let items = history["data"].as_array().unwrap().iter();
    let line = |item: &Value| {
        let word = |name: &str| item[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", word("type"), word("source"), word("result"))
    };
    items.map(line).collect()
}

#[tokio::test]
async fn e2_an_answer_that_is_no_task_is_kept_with_the_end_of_the_submit() {
    for (status, body) in [
        (200, "<html>login</html>"),
        (302, "moved"),
        (201, r#"{"id":7}"#),
    ] {
        let evolink = RawServer::start(http(status, &[], body), End::Close).await;
        let app = builder(&evolink).start().await;
        let key = "key-of-an-unreadable-answer";
        let answer = submit_under(&app, key, generation("a").to_string()).await;
        let id = answer.assert_unknown(body);
        assert_eq!(state(&app, &id).await, "submit_unknown", "{body}");
        let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
        let expected = [
            "submit submit begun",
            "submit submit unknown",
            "quarantine submit unreadable",
        ];
        assert_eq!(lines(&history), expected, "{history}");
        let entry = history["data"][2]["quarantine_id"].as_i64().unwrap();
        let entry = get(&app, &format!("/v1/quarantine/{entry}")).await.body;
        let kept = BASE64_STANDARD.decode(entry["body_base64"].as_str().unwrap());
        assert_eq!(kept.unwrap(), body.as_bytes());
        assert_eq!(entry["subject"], id.as_str());
        let reason = entry["reason"].as_str().unwrap();
        assert!(
            reason.starts_with(&format!("answered {status}")),
            "{reason}"
        );
        // A repeat gets the same answer immediately.
        let again = submit_under(&app, key, generation("a").to_string()).await;
        assert_eq!(again.assert_unknown("the same again"), id);
        assert_eq!(posts(&evolink), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_kept_as_far_as_it_came() {
    let begun = format!(r#"{{"id":"{ID}","sta"#);
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{begun}");
    let evolink = RawServer::start(cut.into_bytes(), End::Close).await;
    let app = builder(&evolink).start().await;
    submit(&app, &generation("a"))
        .await
        .assert_unknown("cut off");
    let entry = get(&app, "/v1/quarantine/1").await.body;
    assert_eq!(
        (&entry["body"], &entry["source"]),
        (&json!(begun), &json!("submit"))
    );
}

#[tokio::test]
async fn an_empty_answer_and_a_failure_of_evolink_leave_nothing_to_look_at() {
    for (status, body) in [(200, ""), (500, "<html>sorry</html>"), (408, "{}")] {
        let evolink = RawServer::start(http(status, &[], body), End::Close).await;
        let app = builder(&evolink).start().await;
        let id = submit(&app, &generation("a")).await.assert_unknown(body);
        assert_eq!(state(&app, &id).await, "submit_unknown", "{status}");
        let [.., quarantined, _] = row_counts(&app).await;
        assert_eq!(quarantined, 0, "{status}");
    }
}
