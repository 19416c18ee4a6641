//! Requests that a page in somebody's browser sends, and requests of strangers.

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::simulator::{Options, Simulator};
use reqwest::Method;

use super::calls::{SUBMIT, generation, row_counts};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};
use crate::support::net::raw::RawClient;
use crate::support::process::{Place, Receiver};

const KEY: &str = "erk_browser-0123456789abcdef012345";

/// Every route that changes something.
const CHANGES: [&str; 6] = [
    SUBMIT,
    "/v1/archive/retry",
    "/v1/archive/verify",
    "/v1/quarantine/1/replay",
    "/v1/deliveries/retry",
    "/v1/deliveries/1/retry",
];

async fn started(keys: Vec<ApiKey>) -> (TestApp, Simulator) {
    let builder = TestApp::builder().with(|config| {
        config.internal.api_keys = keys;
        config.internal.base_url = Some("https://receiver.example/".parse().unwrap());
        config.archive.enabled = true;
    });
    builder.start_with_simulator(Options::default()).await
}

async fn posted(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = app.request(Method::POST, path).bearer_auth(KEY);
    let headers = headers.iter();
    let request = headers.fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    send(request.json(&generation("a cat"))).await
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let key = ApiKey::new(
        "all",
        KeyDigest::of(KEY),
        &[Scope::Submit, Scope::Read, Scope::Admin],
    );
    for keys in [vec![], vec![key]] {
        let (app, evolink) = started(keys).await;
        let port = app.internal.port();
        let (elsewhere, beside) = (
            format!("http://127.0.0.1:{port}.evil.example"),
            format!("http://127.0.0.1:{}", port - 1),
        );
        let foreign: [&[(&str, &str)]; 10] = [
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://localhost:3000")],
            &[("origin", &elsewhere)],
            &[("origin", &beside)],
            &[("origin", "")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "x")],
            &[
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
        ];
        let before = row_counts(&app).await;
        for path in CHANGES {
            for headers in foreign {
                let answer = posted(&app, path, headers).await;
                answer.assert_error(
                    403,
                    "permission_denied",
                    None,
                    &format!("{path} {headers:?}"),
                );
            }
        }
        let own = format!("http://127.0.0.1:{port}");
        let two = [("origin", &*own), ("origin", "https://evil.example")];
        let answer = posted(&app, SUBMIT, &two).await;
        answer.assert_error(403, "permission_denied", None, "two origins");
        assert_eq!(row_counts(&app).await, before);
        assert!(evolink.submits().is_empty());

        let accepted: [&[(&str, &str)]; 5] = [
            &[],
            &[("origin", &own)],
            &[("origin", "https://receiver.example")],
            &[("origin", &own), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ];
        for headers in accepted {
            let answer = posted(&app, "/v1/deliveries/retry", headers).await;
            assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text);
        }
        let read = app.request(Method::GET, "/v1/tasks").bearer_auth(KEY);
        let read = send(read.header("origin", "https://evil.example")).await;
        assert_eq!(
            read.status, 200,
            "a page reads nothing: the browser hides the answer"
        );
        app.stop().await.0.unwrap();
    }
}

#[tokio::test]
async fn without_keys_all_of_the_host_must_be_this_machine() {
    let app = TestApp::start().await;
    let status = async |target: &str, host: &str| {
        let mut client = RawClient::connect_plain(app.internal).await;
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(request).await;
        client.read_response().await.status
    };
    for host in [
        "[::1]evil.example",
        "[::1",
        "localhost:x",
        "localhost:",
        "user@localhost",
        "localhost.evil.example",
        "evil.example",
    ] {
        assert_eq!(status("/v1/tasks", host).await, 403, "{host}");
    }
    for target in [
        "http://evil.example/v1/tasks",
        "http://[::1].evil.example/v1/tasks",
    ] {
        let status = status(target, "localhost").await;
        assert!(matches!(status, 400 | 403), "{target}: {status}");
    }
    let foreign_host = status("http://localhost/v1/tasks", "evil.example").await;
    assert_eq!(foreign_host, 403);
    for host in [
        "localhost:8080",
        "127.0.0.1",
        "[::1]:80",
        "[::ffff:127.0.0.1]",
    ] {
        assert_eq!(status("/v1/tasks", host).await, 200, "{host}");
    }
    assert_eq!(status("http://localhost/v1/tasks", "localhost").await, 200);
    app.stop().await.0.unwrap();
}

/// Sends a request, and waits for its answer.
async fn ask(receiver: &Receiver, method: &str, path: &str, key: &str) -> u16 {
    let mut client = RawClient::connect_plain(receiver.internal()).await;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    let key = format!("Authorization: Bearer {key}\r\nContent-Length: 0\r\n\r\n");
    client.send(head + &key).await;
    client.read_response().await.status
}

#[tokio::test]
async fn strangers_cannot_fill_the_log() {
    let place = Place::new();
    let digest = KeyDigest::of(KEY);
    let keys = format!(
        "[internal]\napi_keys = [{{ name = \"app\", sha256 = \"{digest}\", scopes = [\"read\"] }}]"
    );
    place.configure("[internal]", &keys);
    let receiver = place.start().await;
    let before = receiver.log().len();
    let method = "A".repeat(9000);
    for _ in 0..100 {
        assert_eq!(ask(&receiver, "GET", "/v1/tasks", "wrong").await, 401);
        assert_eq!(ask(&receiver, "GET", "/v1/nothing", "wrong").await, 404);
        assert_eq!(ask(&receiver, &method, "/v1/tasks", "wrong").await, 405);
    }
    assert_eq!(ask(&receiver, "GET", "/v1/tasks", KEY).await, 200);
    let log = receiver.log().split_off(before);
    assert!(log.len() < 4096, "{log}");
    for status in [401, 404, 405] {
        let line = format!("answered {status} to 1 requests that no API key admitted");
        assert_eq!(log.matches(&line).count(), 1, "{log}");
    }
    assert!(log.contains("the last from 127."), "{log}");
    assert_eq!(log.matches("answered 200 after").count(), 1, "{log}");
    receiver.stop().await;
}
