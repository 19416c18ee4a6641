//! Promise 7: a callback URL that is repeated to us in a body is kept and shown without its secret.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::raw_server::{End, RawServer, http};

/// What anybody can be shown, of whatever scope, as one text.
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

#[tokio::test]
async fn a_callback_url_that_comes_back_is_kept_and_shown_without_its_secret() {
    // The answer to the submit repeats the request, with its callback URL.
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
    let token = app
        .token(&evolink_receiver::domain::callback_token::Subject::Submission(id.parse().unwrap()));
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
