//! `X-Client-Reference`: what an app calls its task. And the request, for those who may read.

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::simulator::Options;
use reqwest::Method;

use crate::internal::calls::{generation, row_counts, submission, token_of};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, get, send};
use crate::support::deliveries::endpoint::Endpoint;

async fn submit_as(app: &TestApp, prompt: &str, reference: &[u8]) -> Answer {
    let request = submission(app, generation(prompt).to_string());
    send(request.header("x-client-reference", reference)).await
}

fn of(answer: &Answer) -> &serde_json::Value {
    &answer.body["receiver"]["reference"]
}

#[tokio::test]
async fn a_reference_is_shown_wherever_the_task_is_and_finds_it() {
    let endpoint = Endpoint::good().await;
    let url = endpoint.url();
    let builder = TestApp::builder().with(|config| {
        config.forward.allowed_hosts = vec!["127.0.0.1".to_owned()];
    });
    let (app, _evolink) = builder.start_with_simulator(Options::default()).await;
    let reference = "order 7/\u{e4}\u{65e5}";
    let body = serde_json::json!({"model": "z-image-turbo", "prompt": "a cat [sim:duration=10ms]", "callback_url": url});
    let request = submission(&app, body.to_string());
    let answer = send(request.header("x-client-reference", reference.as_bytes())).await;
    assert_eq!((answer.status, of(&answer)), (200, &reference.into()));
    let other = submit_as(&app, "a dog", b"order 8").await;
    assert_eq!(of(&other), "order 8");
    let none = send(submission(&app, generation("a fish").to_string())).await;
    assert!(of(&none).is_null());

    let id = answer.body["id"].as_str().unwrap();
    let task = get(&app, &format!("/v1/tasks/{id}?wait=30")).await;
    assert_eq!(of(&task), reference);
    assert_eq!(
        task.body["receiver"]["request"]["prompt"],
        "a cat [sim:duration=10ms]"
    );
    let delivered = endpoint.has(1).await.remove(0);
    let delivered: serde_json::Value = serde_json::from_str(delivered.text()).unwrap();
    assert_eq!(delivered["receiver"]["reference"], reference);
    let event = get(&app, &format!("/v1/events?task={id}&limit=1")).await;
    assert_eq!(
        event.body["data"][0]["task"]["receiver"]["reference"],
        reference
    );

    let encoded: String = url::form_urlencoded::byte_serialize(reference.as_bytes()).collect();
    let found = get(&app, &format!("/v1/tasks?reference={encoded}")).await;
    let found = found.body["data"].as_array().unwrap();
    assert_eq!((found.len(), &found[0]["id"]), (1, &answer.body["id"]));
    for (query, number) in [
        ("reference=order+8", 1),
        ("reference=order+8&status=rejected", 0),
        ("reference=nobody", 0),
    ] {
        let found = get(&app, &format!("/v1/tasks?{query}")).await;
        assert_eq!(
            found.body["data"].as_array().unwrap().len(),
            number,
            "{query}"
        );
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_reference_that_cannot_be_kept_is_refused_and_nothing_is_sent() {
    let (app, evolink) = TestApp::builder()
        .start_with_simulator(Options::default())
        .await;
    let before = row_counts(&app).await;
    let (longest, long) = ("\u{e4}".repeat(128), "a".repeat(129));
    for reference in [
        &b""[..],
        long.as_bytes(),
        b"a\tb",
        &[0xff, 0xfe],
        "\u{85}".as_bytes(),
    ] {
        let answer = submit_as(&app, "a cat", reference).await;
        let param = Some("X-Client-Reference");
        answer.assert_error(400, "invalid_request", param, &format!("{reference:?}"));
    }
    let request = submission(&app, generation("a cat").to_string());
    let request = request.header("x-client-reference", "a");
    let twice = send(request.header("x-client-reference", "a")).await;
    twice.assert_error(
        400,
        "invalid_request",
        Some("X-Client-Reference"),
        "two headers",
    );
    for query in ["", "a%00b", &long] {
        let answer = get(&app, &format!("/v1/tasks?reference={query}")).await;
        answer.assert_error(400, "invalid_request", Some("reference"), query);
    }
    assert_eq!(row_counts(&app).await, before);
    assert!(evolink.submits().is_empty());
    let answer = submit_as(&app, "a cat", longest.as_bytes()).await;
    assert_eq!((answer.status, of(&answer)), (200, &longest.into()));
    app.stop().await.0.unwrap();
}

/// A callback that comes first shows the reference too, and a repeat keeps that of the first.
#[tokio::test]
async fn a_repeat_is_answered_with_the_reference_of_the_first_submit() {
    let (app, _evolink) = TestApp::builder()
        .start_with_simulator(Options::default())
        .await;
    let key = "a-key-of-one-submit";
    let submit = async |reference: &str| {
        let request = submission(&app, generation("a cat").to_string());
        let request = request.header("idempotency-key", key);
        send(request.header("x-client-reference", reference)).await
    };
    let first = submit("first").await;
    let again = submit("again").await;
    assert_eq!(
        (of(&again), again.header("idempotency-replayed")),
        (&"first".into(), Some("true"))
    );
    let submission_id = first.header("x-submission-id").unwrap();
    let body = super::super::calls::completed(first.body["id"].as_str().unwrap());
    app.callback(&token_of(&app, submission_id), body).await;
    let task = get(&app, &format!("/v1/tasks/{submission_id}")).await;
    assert_eq!(
        (of(&task), &task.body["status"]),
        (&"first".into(), &"completed".into())
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_prompt_is_shown_to_those_who_may_read() {
    const SUBMIT_KEY: &str = "erk_submit-0123456789abcdef0123456789";
    const READ_KEY: &str = "erk_reader-0123456789abcdef0123456789";
    let key = |name: &str, key: &str, scope| ApiKey::new(name, KeyDigest::of(key), &[scope]);
    let keys = vec![
        key("app", SUBMIT_KEY, Scope::Submit),
        key("reader", READ_KEY, Scope::Read),
    ];
    let builder = TestApp::builder().with(|config| config.internal.api_keys = keys);
    let (app, _evolink) = builder.start_with_simulator(Options::default()).await;
    for wait in ["", "?wait=1"] {
        let path = format!("/v1/images/generations{wait}");
        let prompt = format!("a secret cat{wait}");
        let request = app.request(Method::POST, &path).bearer_auth(SUBMIT_KEY);
        let answer = send(request.json(&generation(&prompt))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.text.contains("secret cat"), "{}", answer.text);
        let id = answer.body["id"].as_str().unwrap();
        let read = app.request(Method::GET, &format!("/v1/tasks/{id}"));
        let read = send(read.bearer_auth(READ_KEY)).await;
        let request = &read.body["receiver"]["request"];
        assert_eq!(request["prompt"], *prompt);
        assert_eq!(request["model"], "z-image-turbo");
        assert!(request["callback_url"].is_null(), "{request}");
    }
    app.stop().await.0.unwrap();
}
