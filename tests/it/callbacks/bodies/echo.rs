//! If a body repeats a callback URL to us, the URL is stored and shown without its secret.

use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use serde_json::{Value, json};

use crate::support::app::{EVOLINK_KEY, TestApp};
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::until::until;

/// Everything that clients of any scope can read about the task, as one text.
async fn all_answers(app: &TestApp, id: &str) -> String {
    let mut all = String::new();
    let paths = [
        "/v1/tasks".to_owned(),
        format!("/v1/tasks/{id}"),
        format!("/v1/tasks/{id}/events"),
        "/v1/quarantine".to_owned(),
        "/v1/quarantine/1".to_owned(),
    ];
    for path in paths {
        let (status, body) = app.get(&path).await;
        assert_eq!(status, 200, "{path}: {body}");
        all.push_str(&body.to_string());
    }
    all
}

/// Ways to spell a callback URL: they differ in what stands for the token's `/`, and for the MAC.
fn spelled(token: &str, mac: &str) -> [String; 6] {
    let url = format!("https://localhost/callbacks/{token}");
    let nested = |text: &str| serde_json::to_string(&json!({ "url": text })).unwrap();
    let escaped: Vec<_> = mac.bytes().map(|byte| format!("\\u00{byte:02x}")).collect();
    let escaped = escaped.concat();
    [
        url.replace('/', "\\u002f"),
        nested(&nested(&url)),
        url.replace(':', "%253A").replace('/', "%252F"),
        url.replace('.', "%2E"),
        mac.to_owned(),
        escaped,
    ]
}

/// The callback URL that EvoLink received.
static GIVEN: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());

#[tokio::test]
async fn a_token_is_kept_in_no_spelling_wherever_it_came_from() {
    // EvoLink's answers to polls contain the bare MAC of the token that it received.
    let echo = |request: &str| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let is_submit = head.starts_with("POST");
        if let Some(at) = body.find("/callbacks/") {
            *GIVEN.lock().unwrap() = body[at..].split('"').next().unwrap().to_owned();
        }
        let given = GIVEN.lock().unwrap().clone();
        let mac = given.rsplit('.').next().unwrap();
        let status = if is_submit { "pending" } else { "processing" };
        let answer = json!({"id": "task-echo", "status": status, "progress": 7, "bare": mac});
        http(200, &[&format!("x-request-id: {mac}")], &answer.to_string())
    };
    let evolink = RawServer::start_answering(echo, End::Close).await;
    let url = evolink.url.parse().unwrap();
    let app = TestApp::builder()
        .with(|config| {
            config.evolink.base_url = url;
            config.reconcile.first_poll_after = Duration::from_millis(10);
        })
        .start()
        .await;
    let task = app.submitted("a").await;
    let id = task["receiver"]["submission_id"].as_str().unwrap();
    let token = app.token(&Subject::Submission(id.parse().unwrap()));
    let (_, mac) = token.rsplit_once('.').unwrap();
    assert_eq!(task["bare"], "[redacted]", "{task}");
    until("a poll", || evolink.requests().len() > 1).await;

    for (n, text) in spelled(&token, mac).into_iter().enumerate() {
        // Text with escapes goes into the body unchanged, as a JSON string.
        let readable = format!(
            r#"{{"id":"task-echo","status":"processing","progress":{},"a":{}}}"#,
            n + 10,
            if text.contains("\\u00") {
                format!("\"{text}\"")
            } else {
                json!(text).to_string()
            },
        );
        assert_eq!(
            app.callback_result(&token, readable).await,
            "recorded",
            "{text}"
        );
        assert_eq!(
            app.callback(&token, format!("no task: {text}")).await.0,
            400
        );
    }
    let shown = all_answers(&app, id).await;
    assert!(
        shown.contains("[redacted]") && !shown.contains(mac),
        "{shown}"
    );
    let database = app.database().await;
    let bodies = "SELECT body FROM observation UNION ALL SELECT body FROM quarantine";
    let bodies: Vec<Vec<u8>> = database.values(bodies, &[]).await;
    assert!(bodies.len() >= 13, "{}", bodies.len());
    let escaped: Vec<_> = mac.bytes().map(|byte| format!("\\u00{byte:02x}")).collect();
    let escaped = escaped.concat();
    for body in bodies {
        let body = String::from_utf8_lossy(&body);
        assert!(!body.contains(mac) && !body.contains(&escaped), "{body}");
        assert!(body.contains("[redacted]"), "{body}");
    }
}

#[tokio::test]
async fn a_callback_url_that_comes_back_is_kept_and_shown_without_its_secret() {
    // EvoLink's answer to the submit repeats the request with its callback URL.
    let echo = |request: &str| {
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let sent: Value = serde_json::from_str(body).unwrap();
        let answer = json!({"id": "task-echo", "status": "pending", "sent": sent});
        http(200, &[], &answer.to_string())
    };
    let evolink = RawServer::start_answering(echo, End::Close).await;
    let url = evolink.url.parse().unwrap();
    let builder = TestApp::builder().with(|config| config.evolink.base_url = url);
    let app = builder.start().await;
    let task = app.submitted("a").await;
    let id = task["receiver"]["submission_id"].as_str().unwrap();
    let token = app.token(&evolink_receiver::domain::callback::Subject::Submission(
        id.parse().unwrap(),
    ));
    let (_, mac) = token.rsplit_once('.').unwrap();
    assert!(evolink.requests()[0].contains(mac), "EvoLink was told it");
    assert_eq!(
        task["sent"]["callback_url"].as_str().unwrap(),
        format!(
            "https://localhost/callbacks/{}",
            token.replace(mac, "[redacted]")
        )
    );

    let url = format!("https://localhost/callbacks/{token}");
    let unreadable = format!("no task, for {url}");
    assert_eq!(app.callback(&token, unreadable).await.0, 400);
    let readable =
        json!({"id": "task-echo", "status": "processing", "progress": 5, "callback_url": url});
    let result = app.callback_result(&token, readable.to_string()).await;
    assert_eq!(result, "recorded");

    let shown = all_answers(&app, id).await;
    assert!(
        shown.contains("no task, for https://localhost/callbacks/"),
        "{shown}"
    );
    assert!(
        !shown.contains(mac) && !task.to_string().contains(mac),
        "{shown}"
    );
    let database = app.database().await;
    let bodies = "SELECT body FROM observation UNION ALL SELECT body FROM quarantine";
    let bodies: Vec<Vec<u8>> = database.values(bodies, &[]).await;
    assert_eq!(bodies.len(), 3);
    for body in bodies {
        assert!(!String::from_utf8_lossy(&body).contains(mac));
    }
}

/// A caller's proxy, or EvoLink itself, may repeat the key that we call EvoLink with.
#[tokio::test]
async fn our_evolink_key_is_kept_and_shown_in_no_spelling() {
    let app = TestApp::start().await;
    let token = app.standing_token("shop");
    let percent: String = EVOLINK_KEY
        .bytes()
        .fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
    let escaped: String = EVOLINK_KEY.bytes().fold(String::new(), |text, byte| {
        text + &format!("\\u00{byte:02x}")
    });
    for (n, key) in [EVOLINK_KEY, &percent, &escaped].into_iter().enumerate() {
        let failed = format!(
            r#"{{"id":"task-key-{n}","status":"failed","error":{{"code":"x","message":"Incorrect API key provided: {key}"}}}}"#
        );
        assert_eq!(
            app.callback_result(&token, failed.clone()).await,
            "recorded"
        );
        let conflict = failed.replace("failed", "cancelled");
        assert_eq!(app.callback_result(&token, conflict).await, "conflict");
        let unreadable = format!("<html> {n} Bearer {key}");
        assert_eq!(app.callback(&token, unreadable).await.0, 400);
    }
    let mut shown = String::new();
    for path in [
        "/v1/tasks",
        "/v1/tasks/task-key-0",
        "/v1/tasks/task-key-1/events",
        "/v1/tasks/task-key-2",
        "/v1/events?after=0",
        "/v1/quarantine/1",
        "/v1/quarantine/2",
        "/v1/quarantine/4",
        "/v1/quarantine/6",
    ] {
        let (status, body) = app.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        shown.push_str(&body.to_string());
    }
    assert!(shown.contains("provided: [redacted]"), "{shown}");
    assert!(
        !shown.contains(EVOLINK_KEY) && !shown.contains(&percent),
        "{shown}"
    );
    let database = app.database().await;
    let bodies = "SELECT body FROM observation UNION ALL SELECT body FROM quarantine";
    let bodies: Vec<Vec<u8>> = database.values(bodies, &[]).await;
    assert!(bodies.len() >= 9, "{}", bodies.len());
    for body in bodies {
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("[redacted]"), "{body}");
        for key in [EVOLINK_KEY, &percent, &escaped] {
            assert!(!body.contains(key), "{body}");
        }
    }
}
