//! Authorization: API keys with scopes, or, without any keys, only programs on this machine (rule
//! B9).

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::exit::Exit;
use evolink_receiver::simulator::{Options, Simulator};
use reqwest::Method;
use serde_json::json;

use super::calls::{SUBMIT, generation, row_counts};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};
use crate::support::described::RequestBuilder;

const SUBMIT_KEY: &str = "erk_canary-submit-0123456789abcdef";
const READ_KEY: &str = "erk_canary-reader-0123456789abcdef";
const ADMIN_KEY: &str = "erk_canary-admins-0123456789abcdef";
const ALL_KEY: &str = "erk_canary-gets-all-0123456789abcd";

const READS: [&str; 5] = [
    "/v1/tasks",
    "/v1/tasks/unknown",
    "/v1/tasks/unknown/events",
    "/v1/tasks/a%20b",
    "/v1/credits",
];

/// Routes for operators.
const ADMINS: [&str; 2] = ["/v1/quarantine", "/v1/quarantine/7"];

fn key(name: &str, key: &str, scopes: &[Scope]) -> ApiKey {
    ApiKey::new(name, KeyDigest::of(key), scopes)
}

async fn started() -> (TestApp, Simulator) {
    let keys = vec![
        key("submits", SUBMIT_KEY, &[Scope::Submit]),
        key("reads", READ_KEY, &[Scope::Read]),
        key("admin", ADMIN_KEY, &[Scope::Admin]),
        key("all", ALL_KEY, &[Scope::Submit, Scope::Read]),
    ];
    let builder = TestApp::builder().with(|config| config.internal.api_keys = keys);
    builder.start_with_simulator(Options::default()).await
}

fn submission(app: &TestApp) -> RequestBuilder {
    app.request(Method::POST, SUBMIT)
        .json(&generation("[sim:duration=10m]"))
}

async fn with_key(request: RequestBuilder, key: &str) -> Answer {
    send(request.bearer_auth(key)).await
}

#[tokio::test]
async fn n11_without_a_known_key_there_is_one_constant_401() {
    let (app, evolink) = started().await;
    let wrong = ALL_KEY.replace("gets", "gest");
    assert_eq!(wrong.len(), ALL_KEY.len());
    let headers = [
        None,
        Some(format!("Bearer {wrong}")),
        Some(format!("Bearer {}", &ALL_KEY[..ALL_KEY.len() - 1])),
        Some(format!("Bearer {ALL_KEY}x")),
        Some(format!("Basic {ALL_KEY}")),
        Some(ALL_KEY.to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {}", KeyDigest::of(ALL_KEY))),
    ];
    let mut bodies = std::collections::BTreeSet::new();
    let mut refused = async |request: RequestBuilder, why: &str| {
        let answer = send(request).await;
        answer.assert_error(401, "unauthorized", None, why);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        bodies.insert(answer.text);
    };
    for header in headers {
        let paths = READS.into_iter().chain(ADMINS);
        let requests = paths.map(|path| app.request(Method::GET, path));
        let replay = app.request(Method::POST, "/v1/quarantine/7/replay");
        let requests = requests.chain([replay]);
        for mut request in requests.chain([submission(&app)]) {
            if let Some(header) = &header {
                request = request.header("authorization", header);
            }
            refused(request, &format!("{header:?}")).await;
        }
    }
    for query in ["api_key", "access_token", "key"] {
        let path = format!("/v1/tasks?{query}={ALL_KEY}");
        refused(app.request(Method::GET, &path), query).await;
    }
    let twice = format!("Bearer {ALL_KEY}");
    refused(
        app.request(Method::GET, "/v1/tasks")
            .header("authorization", &twice)
            .header("authorization", &twice),
        "two",
    )
    .await;
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!((evolink.stats().submits, row_counts(&app).await[0]), (0, 0));
}

#[tokio::test]
async fn t18_every_route_wants_its_scope() {
    let (app, evolink) = started().await;
    for (key, may_submit, may_read, may_operate) in [
        (SUBMIT_KEY, true, false, false),
        (READ_KEY, false, true, false),
        (ADMIN_KEY, false, false, true),
        (ALL_KEY, true, true, false),
    ] {
        let asked = ADMINS.map(|path| app.request(Method::GET, path));
        let replay = app.request(Method::POST, "/v1/quarantine/7/replay");
        for request in asked.into_iter().chain([replay]) {
            let answer = with_key(request, key).await;
            assert_eq!(answer.status == 403, !may_operate, "{key}: {answer:?}");
            assert_ne!(answer.status, 401, "{key}");
        }
        for path in READS {
            let answer = with_key(app.request(Method::GET, path), key).await;
            assert_eq!(answer.status == 403, !may_read, "{key} {path}: {answer:?}");
            assert_ne!(answer.status, 401, "{key} {path}");
        }
        let before = evolink.stats().submits;
        let answer = with_key(submission(&app), key).await;
        assert_eq!(answer.status, if may_submit { 200 } else { 403 }, "{key}");
        assert_eq!(evolink.stats().submits - before, u64::from(may_submit));
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(
            send(app.request(Method::GET, path)).await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn i34_without_the_scope_nobody_learns_whether_a_task_exists() {
    let (app, _evolink) = started().await;
    let task = with_key(submission(&app), ALL_KEY).await;
    let (id, submission_id) = (
        task.body["id"].as_str().unwrap(),
        task.header("x-submission-id").unwrap(),
    );
    let mut bodies = std::collections::BTreeSet::new();
    for id in [id, submission_id, "task-unified-1-absent", "a%20b", "0"] {
        for tail in ["", "/events"] {
            let answer = with_key(
                app.request(Method::GET, &format!("/v1/tasks/{id}{tail}")),
                SUBMIT_KEY,
            )
            .await;
            answer.assert_error(403, "permission_denied", None, id);
            bodies.insert(answer.text);
        }
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let known = with_key(
        app.request(Method::GET, &format!("/v1/tasks/{id}")),
        READ_KEY,
    )
    .await;
    assert_eq!(
        (known.status, &known.body["receiver"]["client"]),
        (200, &json!("all"))
    );
}

#[tokio::test]
async fn scope_goes_before_everything_about_the_body() {
    let (app, _evolink) = started().await;
    for key in [READ_KEY, "wrong"] {
        let request = app
            .request(Method::POST, SUBMIT)
            .header("content-encoding", "gzip")
            .body("x".repeat(70_000));
        let answer = with_key(request, key).await;
        assert_eq!(answer.status, if key == READ_KEY { 403 } else { 401 });
    }
}

#[tokio::test]
async fn i40_of_a_key_only_its_sha256_is_kept() {
    let (app, _evolink) = started().await;
    assert_eq!(
        with_key(
            submission(&app).header("idempotency-key", "a".repeat(16)),
            ALL_KEY
        )
        .await
        .status,
        200
    );
    assert!(
        !format!("{:?}", app.config).contains("canary"),
        "neither our keys nor EvoLink's"
    );
    let metrics = send(app.request(Method::GET, "/metrics")).await.text;
    assert!(!metrics.contains("canary"));
    for file in std::fs::read_dir(app.folder()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            !bytes.windows(6).any(|window| window == b"canary"),
            "{}",
            path.display()
        );
    }
}

#[tokio::test]
async fn t26_without_keys_only_a_loopback_host_is_answered() {
    let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
    let paths = READS
        .into_iter()
        .chain(["/livez", "/readyz", "/metrics", "/nothing"]);
    let port = app.internal.port();
    for path in paths {
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "localhost.evil.example",
        ] {
            let answer = send(app.request(Method::GET, path).header("host", host)).await;
            answer.assert_error(403, "permission_denied", None, &format!("{path} {host}"));
        }
        for host in [
            "localhost".to_owned(),
            format!("127.0.0.1:{port}"),
            "[::1]".to_owned(),
        ] {
            let answer = send(app.request(Method::GET, path).header("host", &host)).await;
            assert_ne!(answer.status, 403, "{path} {host}");
        }
    }
    let answer = send(submission(&app).header("host", "evil.example")).await;
    answer.assert_error(403, "permission_denied", None, "submit");
    assert_eq!((evolink.stats().submits, row_counts(&app).await[0]), (0, 0));
}

#[tokio::test]
async fn with_keys_the_host_does_not_matter() {
    let (app, _evolink) = started().await;
    let answer = with_key(
        app.request(Method::GET, "/v1/tasks")
            .header("host", "receiver.internal"),
        READ_KEY,
    )
    .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_listener_that_others_can_reach_does_not_start_without_keys() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let builder =
            TestApp::builder().with(|config| config.internal.listen = address.parse().unwrap());
        let error = builder.try_build().await.err().unwrap();
        assert_eq!(error.exit, Exit::Config, "{address}");
        assert!(error.to_string().contains("internal.api_keys"), "{error}");
    }
}
