//! The documented answers to callbacks, in the order of the checks, as far as the callback and its
//! token alone decide them. The others are in `records`.

use std::time::Duration;

use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::domain::ids::SubmissionId;
use reqwest::Method;
use serde_json::json;

use crate::support::app::START as NOW;
use crate::support::app::callback_body::{body, completed, completed_with};
use crate::support::app::desk::{Answer, Desk, Submit};

#[tokio::test]
async fn a_new_outcome_is_recorded_and_the_same_again_is_a_duplicate() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let first = completed(&submit.task_id);
    desk.check("new", &submit, &first, Answer::Recorded).await;
    for _ in 0..3 {
        desk.check("again", &submit, &first, Answer::Duplicate)
            .await;
    }
    let otherwise = completed_with(
        &submit.task_id,
        &json!(["https://files.evolink.ai/images/a.webp?sig=2"]),
    );
    desk.check("signed anew", &submit, otherwise, Answer::Duplicate)
        .await;
    assert_eq!(
        desk.events(&submit).await,
        ["task.submitted", "task.completed"]
    );
}

#[tokio::test]
async fn what_was_answered_200_is_seen_by_a_second_connection_at_once() {
    let mut desk = Desk::open().await;
    for _ in 0..20 {
        let submit = desk.bound().await;
        let (status, _) = desk
            .app
            .callback(&submit.token, completed(&submit.task_id))
            .await;
        assert_eq!(status, 200);
        assert_eq!(desk.state(&submit).await, ("completed".to_owned(), 100));
    }
}

#[tokio::test]
async fn progress_is_kept_if_it_advances() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let id = submit.task_id.clone();
    let at = |status: &str, progress: u8| body(&id, status, &json!({"progress": progress}));
    for (status, progress, expected) in [
        ("processing", 40, Answer::Recorded),
        ("processing", 20, Answer::Unchanged),
        ("processing", 40, Answer::Unchanged),
        ("pending", 10, Answer::Unchanged),
        ("processing", 60, Answer::Recorded),
    ] {
        desk.check(status, &submit, at(status, progress), expected)
            .await;
    }
    assert_eq!(desk.state(&submit).await, ("processing".to_owned(), 60));
    let (_, task) = desk.app.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(
        (&task["progress"], &task["status"]),
        (&json!(60), &json!("processing"))
    );
}

#[tokio::test]
async fn another_outcome_is_a_conflict_that_is_kept_and_told_once_and_changes_nothing() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let first = completed(&submit.task_id);
    desk.check("first", &submit, &first, Answer::Recorded).await;
    let failed = body(&submit.task_id, "failed", &json!({}));
    desk.check("conflict", &submit, &failed, Answer::Conflict)
        .await;
    let again = desk
        .app
        .callback_result(&submit.token, failed.clone())
        .await;
    assert_eq!(again, "conflict");
    assert_eq!(
        desk.events(&submit).await,
        ["task.submitted", "task.completed", "task.conflict"],
        "told once, however often it is said"
    );
    let sql = "SELECT body, repeats FROM quarantine WHERE subject = $1";
    let kept: Vec<(Vec<u8>, i64)> = desk.database.rows(sql, &[submit.bind()]).await;
    assert_eq!(kept, [(failed.into_bytes(), 1)]);
    assert_eq!(desk.state(&submit).await.0, "completed");
    desk.check("first again", &submit, &first, Answer::Duplicate)
        .await;
}

#[tokio::test]
async fn an_unknown_status_is_kept_and_polled_and_ends_nothing() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let odd = body(&submit.task_id, "paused", &json!({"why": {"so": [1.50]}}));
    desk.check("unknown status", &submit, odd, Answer::Recorded)
        .await;
    assert_eq!(desk.state(&submit).await.0, "pending");
    assert!(desk.is_due(&submit).await);
    let (_, task) = desk.app.get(&format!("/v1/tasks/{}", submit.task_id)).await;
    assert_eq!(
        (&task["status"], &task["why"]),
        (&json!("paused"), &json!({"so": [1.50]}))
    );
}

#[tokio::test]
async fn an_id_other_than_the_bound_one_is_kept_in_quarantine() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let other = completed("task-unified-1757165031-somebody");
    desk.check("other id", &submit, other, Answer::Q409).await;
    assert_eq!(desk.state(&submit).await.0, "pending");
}

#[tokio::test]
async fn what_is_no_task_body_is_kept_in_quarantine() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    desk.check("not JSON", &submit, b"status=\xffcompleted", Answer::Q400)
        .await;
    let sql = "SELECT body FROM quarantine";
    let kept: Vec<u8> = desk.database.value(sql, &[]).await;
    assert_eq!(kept, b"status=\xffcompleted", "byte for byte");
}

#[tokio::test]
async fn an_encoding_or_a_size_that_is_not_taken_leaves_no_trace() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let url = format!(
        "https://localhost:{}/callbacks/{}",
        desk.app.public.port(),
        submit.token
    );
    let (before, version) = (desk.rows().await, desk.version().await);
    for encoding in ["gzip", "br", "gzip, identity", "", "identity, gzip"] {
        let request = desk
            .app
            .http
            .post(&url)
            .header("content-encoding", encoding);
        let answer = request
            .body(completed(&submit.task_id))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 415, "{encoding:?}");
    }
    let large = completed_with(&submit.task_id, &json!(["x".repeat(256 * 1024)]));
    assert_eq!(desk.app.callback(&submit.token, large).await.0, 413);
    assert_eq!(desk.rows().await, before);
    assert_eq!(desk.version().await, version);
    let request = desk
        .app
        .http
        .post(&url)
        .header("content-encoding", "Identity");
    let answer = request
        .body(completed(&submit.task_id))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    desk.assert_well("415 and 413").await;
}

#[tokio::test]
async fn any_other_method_on_a_well_formed_path_is_405_whatever_the_token() {
    let desk = Desk::open().await;
    let submit = desk.bound().await;
    let version = desk.version().await;
    let methods = [
        Method::GET,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
        Method::HEAD,
    ];
    for token in [submit.token.as_str(), "nobody", "a.b.c"] {
        for method in &methods {
            let url = format!(
                "https://localhost:{}/callbacks/{token}",
                desk.app.public.port()
            );
            let answer = desk
                .app
                .http
                .request(method.clone(), url)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 405, "{method} {token}");
            assert_eq!(answer.headers()["allow"], "POST");
        }
    }
    assert_eq!(desk.version().await, version);
    desk.assert_well("405").await;
}

#[tokio::test]
async fn a_foreign_or_expired_token_is_404_and_a_standing_one_does_not_age() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let (before, version) = (desk.rows().await, desk.version().await);
    let foreign = KeyRing::parse(&KeyRing::generate().unwrap()).unwrap();
    let subject = Subject::Submission(submission(&submit));
    let days = |days: u64| Duration::from_hours(days * 24);
    let old = Subject::Submission(SubmissionId::new(NOW.before(days(90))));
    for token in [foreign.mint(&subject), desk.app.token(&old)] {
        assert_eq!(
            desk.app.callback(&token, completed(&submit.task_id)).await,
            (404, String::new())
        );
    }
    assert_eq!((desk.rows().await, desk.version().await), (before, version));
    desk.app.clock.advance(days(91));
    assert_eq!(
        desk.app
            .callback(&submit.token, completed(&submit.task_id))
            .await,
        (404, String::new())
    );
    desk.assert_well("91 days").await;
}

fn submission(submit: &Submit) -> SubmissionId {
    submit.submission_id.parse().unwrap()
}
