//! Texts of others are text on every page, whatever they contain.

use evolink_receiver::simulator::Options;
use http::StatusCode;
use reqwest::Method;
use serde_json::json;

use super::{Browser, PAGES};
use crate::support::app::TestApp;
use crate::support::app::answer::send;

const SCRIPT: &str = "\"'><script src=//evil.example></script><img src=x onerror=alert(1)>";

#[tokio::test]
async fn markup_in_prompts_errors_labels_and_urls_is_shown_as_text() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let submit = app.request(Method::POST, "/v1/images/generations");
    let submit = submit.header("x-client-reference", SCRIPT);
    let prompt = format!("[sim:duration=10m] {SCRIPT} {{{{7*7}}}}");
    let submitted = send(submit.json(&json!({"model": "z-image-turbo", "prompt": prompt}))).await;
    assert_eq!(submitted.status, StatusCode::OK, "{submitted:?}");
    let token = app.standing_token("shop");
    let failed = json!({
        "id": "task-unified-1-hostile", "status": "failed", "progress": 10,
        "error": {"code": SCRIPT, "message": SCRIPT, "type": "task_error"},
    });
    assert_eq!(
        app.callback_result(&token, failed.to_string()).await,
        "recorded"
    );
    let completed = json!({
        "id": "task-unified-1-linked", "status": "completed", "progress": 100,
        "results": ["javascript:alert(1)", format!("https://files.evolink.ai/{SCRIPT}")],
    });
    assert_eq!(
        app.callback_result(&token, completed.to_string()).await,
        "recorded"
    );
    let (status, _) = app
        .callback(&token, format!("{{\"status\": \"{SCRIPT}"))
        .await;
    assert_eq!(status, 400);

    let browser = Browser::of(&app);
    let ids = [
        submitted.body["id"].as_str().unwrap(),
        "task-unified-1-hostile",
        "task-unified-1-linked",
    ];
    let mut pages: Vec<String> = PAGES.map(str::to_owned).into();
    pages.extend(ids.map(|id| format!("/tasks/{id}")));
    pages.extend(ids.map(|id| format!("/fragments/tasks/{id}")));
    let typed: String = url::form_urlencoded::byte_serialize(SCRIPT.as_bytes()).collect();
    pages.extend(
        ["model", "client", "reference", "status", "nonsense"]
            .map(|name| format!("/?layout=table&{name}={typed}")),
    );
    pages.push(format!("/sign-in?next={typed}"));
    pages.push(format!("/tasks/{typed}"));
    let mut shown = 0;
    for page in &pages {
        let answer = browser.get(page).await;
        let html = answer.text.to_lowercase();
        for bad in [
            "<script src=//",
            "<img src=x",
            "href=\"javascript:",
            "src=\"javascript:",
        ] {
            assert!(!html.contains(bad), "{page} has {bad}");
        }
        shown += usize::from(html.contains("&#60;script src=//evil.example&#62;"));
    }
    assert!(shown >= 6, "only {shown} pages show the text");
    app.stop().await.0.unwrap();
}
