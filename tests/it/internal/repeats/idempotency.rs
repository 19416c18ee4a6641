//! One `Idempotency-Key` makes one submit, however often and however late it is repeated (rule
//! B10).

use std::time::Duration;

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::simulator::{Options, Simulator};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::internal::calls::{
    SUBMIT, completed, generation, row_counts, state, submission, submit_under, token_of,
};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};
use crate::support::until::until;

pub const KEY: &str = "order-4711-picture-1";

pub async fn started() -> (TestApp, Simulator) {
    TestApp::start_with_simulator(Options::default()).await
}

pub fn body(prompt: &str) -> String {
    generation(prompt).to_string()
}

/// Asserts that `replay` has the same content as `first` and is marked as a replay.
fn assert_replayed(first: &Answer, replay: &Answer) {
    assert_eq!((replay.status, &replay.text), (200, &first.text));
    assert_eq!(replay.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.header("idempotency-replayed"), None);
    for name in ["x-submission-id", "location"] {
        assert_eq!(replay.header(name), first.header(name));
    }
}

/// The IETF's draft of the header has the key in quotes.
#[tokio::test]
async fn a_key_in_quotes_is_the_same_key() {
    let (app, _evolink) = started().await;
    let first = submit_under(&app, KEY, body("a")).await;
    let quoted = submit_under(&app, &format!("\"{KEY}\""), body("a")).await;
    assert_replayed(&first, &quoted);
    for bad in [format!("\"{KEY}"), format!("{KEY}\""), "\"\"".to_owned()] {
        let refused = submit_under(&app, &bad, body("a")).await;
        refused.assert_error(400, "invalid_request", Some("Idempotency-Key"), &bad);
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn n9_a_key_is_one_header_of_16_to_96_plain_characters() {
    let (app, evolink) = started().await;
    for key in [
        "a".repeat(16),
        "a".repeat(96),
        "A-Za-z0-9._-0000".to_owned(),
    ] {
        assert_eq!(
            submit_under(&app, &key, body(&key)).await.status,
            200,
            "{key}"
        );
    }
    for key in [
        "a".repeat(15),
        "a".repeat(97),
        "a b c d e f g h i".to_owned(),
        "aaaaaaaaaaaaaaa/".to_owned(),
        String::new(),
    ] {
        let answer = submit_under(&app, &key, body("a")).await;
        answer.assert_error(400, "invalid_request", Some("Idempotency-Key"), &key);
    }
    let twice = submission(&app, body("a"))
        .header("idempotency-key", KEY)
        .header("idempotency-key", KEY);
    send(twice)
        .await
        .assert_error(400, "invalid_request", Some("Idempotency-Key"), "two");
    assert_eq!((evolink.stats().submits, row_counts(&app).await[0]), (3, 3));
}

#[tokio::test]
async fn n10_the_same_body_in_another_spelling_is_a_replay_and_another_body_a_conflict() {
    let (app, evolink) = started().await;
    let first = submit_under(
        &app,
        KEY,
        r#"{"model":"z-image-turbo","prompt":"é [sim:duration=10m]","seed":7}"#,
    )
    .await;
    let spelled = "{ \"seed\": 7,\n \"size\": null, \"prompt\":\"\\u00e9 [sim:duration=10m]\", \"model\":\"z-image-turbo\" }";
    assert_replayed(&first, &submit_under(&app, KEY, spelled).await);
    for other in [
        r#"{"model":"z-image-turbo","prompt":"e [sim:duration=10m]","seed":7}"#,
        r#"{"model":"z-image-turbo","prompt":"é [sim:duration=10m]","seed":8}"#,
    ] {
        let answer = submit_under(&app, KEY, other).await;
        answer.assert_error(422, "idempotency_conflict", None, other);
    }
    assert_eq!((evolink.stats().submits, row_counts(&app).await[0]), (1, 1));
    assert_eq!(
        app.counter("evolink_receiver_submits_total{result=\"replayed\"}"),
        1
    );
}

#[tokio::test]
async fn a_replay_repeats_the_first_answer_also_after_the_outcome_and_after_an_early_callback() {
    let (app, evolink) = started().await;
    let first = submit_under(&app, KEY, body("[sim:duration=10m]")).await;
    let id = first.header("x-submission-id").unwrap().to_owned();
    let task_id = first.body["id"].as_str().unwrap();
    assert_eq!(
        app.callback_result(&token_of(&app, &id), completed(task_id))
            .await,
        "recorded"
    );
    assert_replayed(
        &first,
        &submit_under(&app, KEY, body("[sim:duration=10m]")).await,
    );

    let early = "[sim:early-callback,duration=0ms]";
    let first = submit_under(&app, "another-key-0001", body(early)).await;
    assert_eq!(first.body["status"], "completed");
    assert_replayed(
        &first,
        &submit_under(&app, "another-key-0001", body(early)).await,
    );
    assert_eq!(evolink.stats().submits, 2);
}

#[tokio::test]
async fn fifty_at_once_are_one_post() {
    let (app, evolink) = started().await;
    let all = (0..50).map(|_| submit_under(&app, KEY, body("[sim:stall=500ms,duration=10m]")));
    let answers = join_all(all).await;
    assert_eq!((evolink.stats().submits, evolink.stats().charges), (1, 1));
    let fresh: Vec<_> = answers
        .iter()
        .filter(|answer| answer.header("idempotency-replayed").is_none())
        .collect();
    assert_eq!(fresh.len(), 1, "{fresh:?}");
    for answer in answers
        .iter()
        .filter(|answer| answer.header("idempotency-replayed").is_some())
    {
        assert_replayed(fresh[0], answer);
    }
}

#[tokio::test]
async fn while_the_first_is_under_way_the_second_waits_5_s_and_then_gets_409() {
    let (app, evolink) = started().await;
    let (http, url) = (
        app.http.clone(),
        format!("http://{}{}", app.internal, SUBMIT),
    );
    let slow = generation("[sim:stall=12s,duration=10m]");
    let sent = slow.clone();
    let first = tokio::spawn(async move {
        http.post(url)
            .header("idempotency-key", KEY)
            .json(&sent)
            .send()
            .await
    });
    until("EvoLink has the submit", || evolink.stats().submits == 1).await;
    let begun = Instant::now();
    let second = submit_under(&app, KEY, slow.to_string()).await;
    second.assert_error(409, "idempotency_in_flight", None, "in flight");
    assert!(second.header("retry-after").is_some());
    assert!(begun.elapsed() >= Duration::from_secs(5));
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    let third = submit_under(&app, KEY, slow.to_string()).await;
    assert_eq!(
        (third.status, third.header("idempotency-replayed")),
        (200, Some("true"))
    );
    assert_eq!(evolink.stats().submits, 1);
}

#[tokio::test]
async fn after_a_504_it_is_a_504_again_until_the_task_is_known() {
    let (app, evolink) = started().await;
    let prompt = body("[sim:reset,duration=10m]");
    let id = submit_under(&app, KEY, prompt.clone())
        .await
        .assert_unknown("first");
    let again = submit_under(&app, KEY, prompt.clone())
        .await
        .assert_unknown("again");
    assert_eq!(again, id);
    let task_id = evolink.tasks()[0].id.clone();
    assert_eq!(
        app.callback_result(&token_of(&app, &id), completed(&task_id))
            .await,
        "recorded"
    );
    let known = submit_under(&app, KEY, prompt).await;
    assert_eq!(
        (known.status, &known.body["id"], &known.body["status"]),
        (200, &json!(task_id), &json!("completed"))
    );
    assert_eq!(known.header("idempotency-replayed"), Some("true"));
    assert_eq!(evolink.stats().submits, 1);
}

#[tokio::test]
async fn keys_are_those_of_an_api_key() {
    let key = |name: &str| {
        ApiKey::new(
            name,
            KeyDigest::of(&format!("secret-of-{name}")),
            &[Scope::Submit, Scope::Read],
        )
    };
    let builder =
        TestApp::builder().with(|config| config.internal.api_keys = vec![key("web"), key("batch")]);
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    for (name, prompt) in [
        ("web", "[sim:duration=10m] a"),
        ("batch", "[sim:duration=10m] b"),
    ] {
        let request = submission(&app, body(prompt))
            .header("idempotency-key", KEY)
            .bearer_auth(format!("secret-of-{name}"));
        let answer = send(request).await;
        assert_eq!(
            (answer.status, answer.header("idempotency-replayed")),
            (200, None),
            "{answer:?}"
        );
        assert_eq!(answer.body["receiver"]["client"], name);
    }
    assert_eq!(evolink.stats().submits, 2);
}

#[tokio::test]
async fn a_key_survives_a_restart_and_is_forgotten_after_24_hours() {
    let builder = TestApp::builder().with_manual_clock();
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let prompt = body("[sim:duration=10m]");
    let first = submit_under(&app, KEY, prompt.clone()).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let app = builder.start().await;
    assert_replayed(&first, &submit_under(&app, KEY, prompt.clone()).await);
    app.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(
        submit_under(&app, KEY, prompt.clone())
            .await
            .header("idempotency-replayed"),
        Some("true")
    );
    assert_eq!(evolink.stats().submits, 1);
    app.clock.advance(Duration::from_secs(2));
    let anew = submit_under(&app, KEY, prompt).await;
    assert_eq!(
        (anew.status, anew.header("idempotency-replayed")),
        (200, None)
    );
    assert_eq!(evolink.stats().submits, 2);
    assert_eq!(
        state(&app, anew.header("x-submission-id").unwrap()).await,
        "pending"
    );
}

/// A key older than a day is replaced in place by the next request, whatever its body is.
#[tokio::test]
async fn an_old_key_is_taken_over_whole() {
    let builder = TestApp::builder().with_manual_clock();
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let (one, other) = (body("[sim:duration=10m] a"), body("[sim:duration=10m] b"));
    let first = submit_under(&app, KEY, one.clone()).await;
    app.clock.advance(Duration::from_hours(24));
    let second = submit_under(&app, KEY, other.clone()).await;
    assert_eq!(
        (second.status, second.header("idempotency-replayed")),
        (200, None)
    );
    assert_ne!(first.body["id"], second.body["id"]);
    submit_under(&app, KEY, one.clone()).await.assert_error(
        422,
        "idempotency_conflict",
        None,
        "the old body",
    );
    // The new key is kept for its own full day, not for the rest of the first one's.
    app.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_replayed(&second, &submit_under(&app, KEY, other).await);
    assert_eq!((row_counts(&app).await[4], evolink.stats().submits), (1, 2));
}
