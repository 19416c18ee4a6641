//! The limits of an API key. Nothing is counted for a submit that was refused, and use is counted in
//! the store, so a restart forgets none of it.

use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::timestamp::Timestamp;
use reqwest::Method;

use super::{SUBMIT, body, get, key, started, submit};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};

const DAY: Duration = Duration::from_hours(24);

/// The task stays open, so that nothing settles it.
const OPEN: &str = "[sim:never-ends,lost-callback]";

fn assert_limit(refused: &Answer, limit: &str, value: &str) {
    refused.assert_error(429, "rate_limit_exceeded", Some(limit), limit);
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("`{limit}` of {value};")),
        "{message}"
    );
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=DAY.as_secs()).contains(&seconds), "{refused:?}");
}

/// The submits and credits of a key, as `GET /v1/usage` shows them.
async fn used(app: &TestApp, name: &str) -> (i64, f64) {
    let usage = get(app, name, "/v1/usage").await;
    let own = &usage.body["data"][0];
    (
        own["submits"].as_i64().unwrap(),
        own["credits"].as_f64().unwrap(),
    )
}

fn token_of(app: &TestApp, accepted: &Answer) -> String {
    let id = accepted.header("x-submission-id").unwrap();
    app.token(&Subject::Submission(id.parse().unwrap()))
}

#[tokio::test]
async fn a_daily_limit_holds_over_a_restart_and_until_the_day_ends() {
    let limited = key("web", |key| key.daily_submits = Some(2));
    let (app, evolink) = started(vec![limited, key("batch", |_| {})]).await;
    for _ in 0..2 {
        assert_eq!(submit(&app, "web", OPEN).await.status, 200);
    }
    assert_limit(&submit(&app, "web", OPEN).await, "daily_submits", "2");
    assert_eq!(submit(&app, "batch", OPEN).await.status, 200);
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let app = builder.start().await;
    assert_limit(&submit(&app, "web", OPEN).await, "daily_submits", "2");
    assert_eq!((evolink.stats().submits, used(&app, "web").await.0), (3, 2));
    app.clock.advance(DAY);
    assert_eq!(submit(&app, "web", OPEN).await.status, 200);
    assert_eq!(used(&app, "web").await.0, 1);
}

#[tokio::test]
async fn submits_at_the_same_moment_do_not_exceed_a_limit_together() {
    let limited = key("web", |key| key.daily_submits = Some(5));
    let (app, evolink) = started(vec![limited]).await;
    let submits = (0..20).map(|_| submit(&app, "web", OPEN));
    let answers = futures_util::future::join_all(submits).await;
    let accepted = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert_eq!((accepted, refused, evolink.stats().submits), (5, 15, 5));
}

#[tokio::test]
async fn a_submit_that_evolink_refuses_is_not_counted() {
    let limited = key("web", |key| key.daily_submits = Some(1));
    let (app, _evolink) = started(vec![limited]).await;
    assert_eq!(submit(&app, "web", "[sim:error-400]").await.status, 400);
    assert_eq!(used(&app, "web").await.0, 0);
    assert_eq!(submit(&app, "web", OPEN).await.status, 200);
    assert_limit(&submit(&app, "web", OPEN).await, "daily_submits", "1");
}

#[tokio::test]
async fn a_repeated_submit_gets_its_answer_beyond_the_limit_and_a_refused_one_frees_its_key() {
    let limited = key("web", |key| key.daily_submits = Some(1));
    let (app, evolink) = started(vec![limited]).await;
    let under = async |name: &str| {
        let request = app.request(Method::POST, SUBMIT).json(&body(OPEN));
        send(request.bearer_auth("web").header("idempotency-key", name)).await
    };
    let first = under("order-2041-image-1").await;
    assert_limit(&under("order-2041-image-2").await, "daily_submits", "1");
    let again = under("order-2041-image-1").await;
    assert_eq!((again.status, &again.body["id"]), (200, &first.body["id"]));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    app.clock.advance(DAY);
    assert_eq!(under("order-2041-image-2").await.status, 200);
    assert_eq!(evolink.stats().submits, 2);
}

#[tokio::test]
async fn credits_are_counted_as_reserved_and_given_back_when_the_task_fails() {
    let limited = key("web", |key| key.daily_credits = Some(0.01));
    let (app, _evolink) = started(vec![limited]).await;
    let failing = submit(&app, "web", "[sim:fail,duration=10m,lost-callback]").await;
    let reserved = failing.body["usage"]["credits_reserved"].as_f64().unwrap();
    assert!(reserved > 0.01, "{failing:?}");
    assert_eq!(used(&app, "web").await, (1, reserved));
    assert_limit(&submit(&app, "web", OPEN).await, "daily_credits", "0.01");
    let id = failing.body["id"].as_str().unwrap();
    let token = token_of(&app, &failing);
    let failed =
        format!(r#"{{"id":"{id}","status":"failed","error":{{"code":"x","message":"x"}}}}"#);
    assert_eq!(app.callback_result(&token, failed).await, "recorded");
    assert_eq!(used(&app, "web").await, (1, 0.0));
    let completing = submit(&app, "web", OPEN).await;
    assert_eq!(completing.status, 200);
    let id = completing.body["id"].as_str().unwrap();
    let token = token_of(&app, &completing);
    let completed = format!(
        r#"{{"id":"{id}","status":"completed","results":["https://files.evolink.ai/a.webp"],"usage":{{"credits_used":0.5}}}}"#
    );
    assert_eq!(app.callback_result(&token, completed).await, "recorded");
    assert_eq!(used(&app, "web").await, (2, 0.5));
}

#[tokio::test]
async fn submits_of_a_second_may_come_together_and_the_next_one_comes_later() {
    let limited = key("web", |key| key.submits_per_second = Some(2));
    let (app, _evolink) = started(vec![limited]).await;
    for _ in 0..2 {
        assert_eq!(submit(&app, "web", OPEN).await.status, 200);
    }
    let refused = submit(&app, "web", OPEN).await;
    assert_limit(&refused, "submits_per_second", "2");
    assert_eq!(refused.header("retry-after"), Some("1"));
    app.clock.advance(Duration::from_millis(500));
    assert_eq!(submit(&app, "web", OPEN).await.status, 200);
    assert_eq!(submit(&app, "web", OPEN).await.status, 429);
}

#[tokio::test]
async fn a_disabled_key_and_an_expired_one_admit_nobody() {
    let expiring = key("guest", |key| {
        key.expires_at = Timestamp::parse("2026-01-01T00:00:00Z");
    });
    let disabled = key("old", |key| key.disabled = true);
    let (app, _evolink) = started(vec![expiring, disabled]).await;
    let refused = get(&app, "old", "/v1/tasks").await;
    refused.assert_error(401, "unauthorized", None, "disabled");
    assert!(refused.text.contains("is disabled"), "{refused:?}");
    assert_eq!(get(&app, "guest", "/v1/tasks").await.status, 200);
    let end = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
    app.clock.set_wall(end);
    let refused = get(&app, "guest", "/v1/tasks").await;
    refused.assert_error(401, "unauthorized", None, "expired");
    assert!(
        refused.text.contains("expired at 2026-01-01"),
        "{refused:?}"
    );
}
