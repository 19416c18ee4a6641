//! A session may do what its API key may, and no more.

use evolink_receiver::config::Scope;
use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::json;

use super::{ALL_KEY, Browser, READ_KEY, SUBMIT_KEY, key, keys};
use crate::support::app::TestApp;
use crate::support::app::answer::send;

async fn started() -> TestApp {
    let builder = TestApp::builder().with(|config| config.internal.api_keys = keys());
    builder.start().await
}

#[tokio::test]
async fn a_page_needs_the_scope_of_what_it_shows() {
    let app = started().await;
    for (key, expected) in [
        (READ_KEY, [200, 200, 200, 403]),
        // A key that may only submit is led to the page that it may use.
        (SUBMIT_KEY, [303, 403, 403, 200]),
        (ALL_KEY, [200, 200, 200, 200]),
    ] {
        let browser = Browser::signed_in(&app, key).await;
        for (page, status) in super::PAGES.iter().zip(expected) {
            let answer = browser.get(page).await;
            assert_eq!(answer.status, status, "{key} {page}: {}", answer.text);
            if status == 403 {
                assert!(answer.text.contains("Sign out"), "the way back is there");
            }
        }
        for fragment in ["tasks", "tasks/x", "health", "health/minutes", "trouble"] {
            let answer = browser.get(&format!("/fragments/{fragment}")).await;
            assert_eq!(answer.status == 403, key == SUBMIT_KEY, "{key} {fragment}");
        }
        let trouble = browser.get("/trouble").await.text;
        let is_told = trouble.contains("keys with the scope <code>admin</code>");
        assert_eq!(is_told, key == READ_KEY, "{key}");
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn the_api_takes_a_session_for_its_key() {
    let app = started().await;
    for (key, reads, operates) in [
        (READ_KEY, 200, 403),
        (SUBMIT_KEY, 403, 403),
        (ALL_KEY, 200, 200),
    ] {
        let browser = Browser::signed_in(&app, key).await;
        assert_eq!(browser.get("/v1/tasks").await.status, reads, "{key}");
        assert_eq!(
            browser.get("/v1/quarantine").await.status,
            operates,
            "{key}"
        );
        let retried = browser.post("/v1/deliveries/retry").await;
        assert_eq!(retried.status, operates, "{key}: {retried:?}");
    }
    // An API key in the request counts alone, even beside a session that may do more.
    let browser = Browser::signed_in(&app, ALL_KEY).await;
    let both = |key: &str| {
        let request = browser.request(Method::GET, "/v1/quarantine");
        send(request.bearer_auth(key.to_owned()))
    };
    assert_eq!(both(READ_KEY).await.status, 403);
    assert_eq!(both("wrong").await.status, 401);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn only_a_page_of_ours_may_use_a_session_to_change_something() {
    let app = started().await;
    let browser = Browser::signed_in(&app, ALL_KEY).await;
    let path = "/v1/deliveries/retry";
    let elsewhere: [&[(&str, &str)]; 4] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "same-site")],
    ];
    for headers in elsewhere {
        for path in [path, "/v1/images/generations"] {
            let request = browser.request(Method::POST, path);
            let request = headers.iter().fold(request, |request, (name, value)| {
                request.header(*name, *value)
            });
            let answer = send(request).await;
            answer.assert_error(
                403,
                "permission_denied",
                None,
                &format!("{path} {headers:?}"),
            );
        }
    }
    assert_eq!(browser.post(path).await.status, 200);
    // A sign-in from elsewhere would lead somebody into the session of another.
    let form = format!("key={ALL_KEY}");
    let request = browser.request(Method::POST, "/sign-in").body(form);
    let answer = send(request.header("origin", "https://evil.example")).await;
    answer.assert_error(403, "permission_denied", None, "sign-in");
    assert_eq!(answer.header("set-cookie"), None);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn an_isolated_key_sees_only_its_own_tasks_on_every_page() {
    const OTHER_KEY: &str = "erk_dashboard-another-app-01234567";
    let builder = TestApp::builder().with(|config| {
        config.internal.isolate_keys = true;
        let scopes = [Scope::Submit, Scope::Read];
        config.internal.api_keys = vec![
            key("own", READ_KEY, &scopes),
            key("other", OTHER_KEY, &scopes),
            key("all", ALL_KEY, Scope::ALL),
        ];
    });
    let (app, _evolink) = builder.start_with_simulator(Options::default()).await;
    let submit = app.request(Method::POST, "/v1/images/generations");
    let body = json!({"model": "z-image-turbo", "prompt": "[sim:duration=10m] a secret"});
    let submitted = send(submit.bearer_auth(READ_KEY).json(&body)).await;
    assert_eq!(submitted.status, 200, "{submitted:?}");
    let id = submitted.header("x-submission-id").unwrap();
    for (key, may_see) in [(READ_KEY, true), (OTHER_KEY, false), (ALL_KEY, true)] {
        let browser = Browser::signed_in(&app, key).await;
        for page in [
            "/",
            "/?client=own",
            "/?status=pending",
            &format!("/tasks/{id}"),
            &format!("/fragments/tasks/{id}"),
            &format!("/fragments/tasks?ids={id}"),
        ] {
            let answer = browser.get(page).await;
            assert_eq!(answer.text.contains("a secret"), may_see, "{key} {page}");
        }
        let file = browser.get(&format!("/tasks/{id}/files/0")).await;
        assert!(file.status >= 400, "{file:?}");
    }
    app.stop().await.0.unwrap();
}
