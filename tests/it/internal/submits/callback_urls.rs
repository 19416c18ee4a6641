//! `callback_url` in a submit: which addresses are accepted, how others are refused, and that
//! EvoLink never sees the URL.

use evolink_receiver::simulator::{Options, Simulator};
use reqwest::Method;
use serde_json::{Value, json};

use crate::internal::calls::{SUBMIT, generation, row_counts, submit};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};

async fn start(allowed: &[&str]) -> (TestApp, Simulator) {
    let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
    let builder = TestApp::builder().with(move |config| config.forward.allowed_hosts = allowed);
    builder.start_with_simulator(Options::default()).await
}

fn with(url: &str) -> Value {
    let mut body = generation("a cute cat");
    body["callback_url"] = url.into();
    body
}

fn message(answer: &Answer) -> &str {
    answer.body["error"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn n6_without_a_list_no_host_is_admitted() {
    let (app, evolink) = start(&[]).await;
    for url in [
        "https://example.com/hook",
        "http://10.0.0.1/",
        "https://localhost/",
    ] {
        let answer = submit(&app, &with(url)).await;
        answer.assert_error(400, "invalid_request", Some("callback_url"), url);
        assert_eq!(
            message(&answer),
            "`callback_url`: no host is allowed here, as the receiver's forward.allowed_hosts is empty"
        );
    }
    assert_eq!(evolink.stats().submits, 0);
    assert_eq!(row_counts(&app).await, [0; 5]);
}

#[tokio::test]
async fn n6_a_listed_host_is_admitted_and_evolink_sees_ours() {
    let (app, evolink) = start(&["app.internal:8000", "*.acme.io", "10.0.0.7", "localhost"]).await;
    for url in [
        "http://app.internal:8000/hook?key=canary-query",
        "https://HOOKS.acme.io/canary-path",
        "http://10.0.0.7:1/",
        "http://0xa.7:1/",
        "http://localhost:65000/",
    ] {
        let answer = submit(&app, &with(url)).await;
        assert_eq!(answer.status, 200, "{url}: {answer:?}");
        let sent = evolink.submits().pop().unwrap().body;
        let ours = sent["callback_url"].as_str().unwrap();
        assert!(ours.contains("/callbacks/"), "{ours}");
        for theirs in ["canary", "app.internal", "acme", "10.0.0.7", "65000"] {
            assert!(!sent.to_string().contains(theirs), "{sent}");
        }
    }
}

#[tokio::test]
async fn what_is_not_admitted_leaves_no_trace_and_the_message_says_what_to_change() {
    let (app, evolink) = start(&["*.acme.io", "localhost", "127.0.0.1", "10.0.0.7:80"]).await;
    let (public, internal) = (app.public.port(), app.internal.port());
    for (url, says) in [
        (
            "https://evil.example/?token=canary-secret",
            "`callback_url`: evil.example:443 is not allowed: the receiver's forward.allowed_hosts does not list it",
        ),
        (
            "http://10.0.0.7:81/canary-secret",
            "`callback_url`: 10.0.0.7:81 is not allowed: the receiver's forward.allowed_hosts does not list it",
        ),
        (
            "https://acme.io/",
            "`callback_url`: acme.io:443 is not allowed: the receiver's forward.allowed_hosts does not list it",
        ),
        (
            "https://user:canary-secret@a.acme.io/",
            "`callback_url`: the URL has a user name or a password",
        ),
        (
            "https://a.acme.io/#canary-secret",
            "`callback_url`: the URL has a fragment (#)",
        ),
        (
            "https:a.acme.io/",
            "`callback_url`: the URL does not begin with http:// or https://",
        ),
        ("https:///a.acme.io/", "`callback_url`: the URL has no host"),
        (
            "http://169.254.169.254/",
            "`callback_url`: 169.254.169.254:80 is not allowed",
        ),
        (
            &format!("http://127.0.0.1:{internal}/v1/tasks"),
            "where this receiver itself listens",
        ),
        (
            &format!("https://2130706433:{public}/callbacks/x"),
            "where this receiver itself listens",
        ),
    ] {
        let answer = submit(&app, &with(url)).await;
        answer.assert_error(400, "invalid_request", Some("callback_url"), url);
        assert!(
            message(&answer).contains(says),
            "{url}: {}",
            message(&answer)
        );
        assert!(!answer.text.contains("canary-secret"), "{}", answer.text);
    }
    assert_eq!(evolink.stats().submits, 0);
    assert_eq!(row_counts(&app).await, [0; 5]);
}

#[tokio::test]
async fn an_idempotency_key_stands_for_its_callback_url_too() {
    let (app, evolink) = start(&["*.acme.io"]).await;
    let keyed = async |body: &Value| {
        let request = app.request(Method::POST, SUBMIT).json(body);
        send(request.header("idempotency-key", "0123456789abcdef")).await
    };
    let first = keyed(&with("https://a.acme.io/1")).await;
    assert_eq!(first.status, 200, "{first:?}");
    let again = keyed(&with("https://a.acme.io/1")).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    for other in [with("https://a.acme.io/2"), generation("a cute cat")] {
        let answer = keyed(&other).await;
        answer.assert_error(422, "idempotency_conflict", None, "another address");
    }
    let null = json!({"model": "z-image-turbo", "prompt": "a cute cat", "callback_url": null});
    assert_eq!(keyed(&null).await.status, 422);
    assert_eq!(evolink.stats().submits, 1);
}
