//! Submits that cannot be sent at once, because EvoLink is not reached or there are too many. A
//! second paid call is never made, and no retry lasts longer than an app may wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::internal::calls::{PENDING, SUBMIT, generation, row_counts, submission, submit_under};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};
use crate::support::net::ports::free_port;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::until::until;

/// Time after which the budget of submits has room again: it counts per second.
const REFILLED: Duration = Duration::from_secs(1);

const RETRIES: &str = "evolink_receiver_submit_retries_total";
const KEY: &str = "key-of-a-retry-0000";

async fn app_of(url: &str) -> TestApp {
    let url = url.parse().unwrap();
    let builder = TestApp::builder();
    builder
        .with(|config| config.evolink.base_url = url)
        .start()
        .await
}

#[tokio::test]
async fn e7_what_was_not_sent_is_tried_again_and_sent_once() {
    let port = free_port();
    let app = app_of(&format!("http://127.0.0.1:{port}")).await;
    let coming = async {
        until("two tries in vain", || app.counter(RETRIES) >= 2).await;
        RawServer::start_at(port, http(200, &[], PENDING)).await
    };
    let body = generation("a cute cat").to_string();
    let (answer, evolink) = tokio::join!(submit_under(&app, KEY, body.clone()), coming);
    assert_eq!(answer.status, 200, "{answer:?}");
    let again = submit_under(&app, KEY, body).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(evolink.requests().len(), 1);
    assert!(evolink.requests()[0].starts_with(&format!("POST {SUBMIT} ")));
    assert_eq!(row_counts(&app).await[0], 1);
}

#[tokio::test]
async fn e6_what_may_have_been_sent_is_not_tried_again() {
    for (bytes, end) in [
        (Vec::new(), End::Close),
        (Vec::new(), End::Reset),
        (http(500, &[], "{}"), End::Close),
        (http(200, &[], "<html>"), End::Close),
        (http(408, &[], "{}"), End::Close),
    ] {
        let evolink = RawServer::start(bytes, end).await;
        let app = app_of(&evolink.url).await;
        let answer = send(submission(&app, generation("a").to_string())).await;
        answer.assert_unknown("not known");
        assert_eq!((evolink.requests().len(), app.counter(RETRIES)), (1, 0));
    }
    for status in [400, 402, 429, 413] {
        let evolink = RawServer::start(http(status, &["retry-after: 1"], "{}"), End::Close).await;
        let app = app_of(&evolink.url).await;
        let answer = send(submission(&app, generation("a").to_string())).await;
        assert_eq!(answer.status, status);
        assert_eq!((evolink.requests().len(), app.counter(RETRIES)), (1, 0));
    }
}

#[tokio::test]
async fn a_stop_ends_the_tries_and_frees_the_key() {
    let app = app_of("http://127.0.0.1:1").await;
    let request = submission(&app, generation("a").to_string()).header("idempotency-key", KEY);
    let asking = tokio::spawn(send(request));
    until("a try in vain", || app.counter(RETRIES) >= 1).await;
    let metrics = app.metrics.clone();
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let text = metrics.render();
    let stopped_early = (1..=2).any(|tries| text.contains(&format!("{RETRIES} {tries}\n")));
    assert!(stopped_early, "{text}");
    let answer: Answer = asking.await.unwrap();
    answer.assert_error(503, "evolink_unreachable", None, "stopping");
    let app = builder.start().await;
    let [tasks, .., keys] = row_counts(&app).await;
    assert_eq!((tasks, keys), (1, 0));
    let states: Vec<String> = app
        .database()
        .await
        .values("SELECT state FROM task", &[])
        .await;
    assert_eq!(states, ["rejected"]);
}

#[tokio::test]
async fn t19_a_flood_of_submits_is_held_back_and_leaves_no_trace() {
    let number = AtomicUsize::new(0);
    let pending = move |_: &str| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let id = format!("task-unified-1757165031-{number:08}");
        http(
            200,
            &[],
            &json!({"id": id, "status": "pending"}).to_string(),
        )
    };
    let evolink = RawServer::start_answering(pending, End::Close).await;
    let url = evolink.url.parse().unwrap();
    let builder = TestApp::builder().with(|config| {
        config.evolink.base_url = url;
        config.evolink.submits_per_second = 2;
    });
    let app = builder.start().await;
    let begun = Instant::now();
    let floods = (0..60).map(|_| send(submission(&app, generation("a").to_string())));
    let answers = join_all(floods).await;
    // Two at once, and two more for each second that it took.
    let allowed = 2 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 2);
    let (accepted, held): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert!(accepted.len() >= 2, "{:?}", answers[0]);
    assert!(accepted.len() <= allowed, "{} of {allowed}", accepted.len());
    assert!(held.len() > 10, "{} of {allowed}", accepted.len());
    for answer in held {
        answer.assert_error(429, "rate_limit_exceeded", None, "held");
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.header("x-submission-id"), None);
    }
    assert_eq!(evolink.requests().len(), accepted.len());
    assert_eq!(
        row_counts(&app).await[0],
        i64::try_from(accepted.len()).unwrap()
    );
    tokio::time::sleep(REFILLED).await;
    let later = send(submission(&app, generation("a").to_string())).await;
    assert_eq!(later.status, 200, "it is over");
}
