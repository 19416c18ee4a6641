//! `GET /v1/tasks`: filters, pages, and bad parameters (rule B13).

use std::collections::HashSet;
use std::time::Duration;

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::Value;

use crate::internal::calls::{completed, generation, submission, submit, token_of};
use crate::support::app::TestApp;
use crate::support::app::answer::{get, send};

fn ids(page: &Value) -> Vec<String> {
    let tasks = page["data"]
        .as_array()
        .unwrap_or_else(|| panic!("no page: {page}"));
    tasks
        .iter()
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_have_no_gap_and_no_repeat_while_new_tasks_arrive() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let mut wanted = Vec::new();
    for number in 0..13 {
        let task = app.submitted(&format!("{number} [sim:duration=10m]")).await;
        wanted.push(task["id"].as_str().unwrap().to_owned());
    }
    wanted.reverse();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for turn in 0..10 {
        let page = get(&app, &format!("/v1/tasks?limit=4{cursor}")).await.body;
        found.extend(ids(&page));
        app.submitted(&format!("new {turn} [sim:duration=10m]"))
            .await;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, wanted);
    let whole = get(&app, "/v1/tasks?limit=200").await.body;
    assert!(whole["next"].is_null());
    assert_eq!(ids(&whole).iter().collect::<HashSet<_>>().len(), 17);
}

#[tokio::test]
async fn a_full_last_page_names_no_page_after() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    for _ in 0..2 {
        app.submitted("[sim:duration=10m]").await;
    }
    let page = get(&app, "/v1/tasks?limit=2").await.body;
    assert_eq!((ids(&page).len(), page["next"].is_null()), (2, true));
    let page = get(&app, "/v1/tasks?limit=1").await.body;
    assert_eq!((ids(&page).len(), page["next"].is_string()), (1, true));
    assert_eq!(
        get(&app, "/v1/tasks").await.body["data"][0],
        get(&app, &format!("/v1/tasks/{}", ids(&page)[0]))
            .await
            .body
    );
}

#[tokio::test]
async fn a_list_is_narrowed_by_status_client_and_time() {
    let keys = ["web", "batch"]
        .map(|name| ApiKey::new(name, KeyDigest::of(name), &[Scope::Submit, Scope::Read]));
    let builder = TestApp::builder()
        .with_manual_clock()
        .with(|config| config.internal.api_keys = keys.to_vec());
    let (app, _evolink) = builder.start_with_simulator(Options::default()).await;
    let list = async |query: &str| {
        let answer = send(
            app.request(Method::GET, &format!("/v1/tasks?{query}"))
                .bearer_auth("web"),
        )
        .await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        ids(&answer.body)
    };
    let submit_as = async |name: &str, prompt: &str| {
        let request = submission(&app, generation(prompt).to_string()).bearer_auth(name);
        let answer = send(request).await;
        (
            answer.body["id"].as_str().unwrap_or_default().to_owned(),
            answer.header("x-submission-id").unwrap().to_owned(),
        )
    };
    let (first, submission_id) = submit_as("web", "[sim:duration=10m]").await;
    assert_eq!(
        app.callback_result(&token_of(&app, &submission_id), completed(&first))
            .await,
        "recorded"
    );
    let begun = app.clock.now();
    app.clock.advance(Duration::from_secs(2));
    let (second, _) = submit_as("batch", "[sim:duration=10m]").await;
    let (_, third) = submit_as("batch", "[sim:no-quota]").await;
    let (_, fourth) = submit_as("web", "[sim:reset,duration=10m]").await;

    assert_eq!(list("").await, [&*fourth, &third, &second, &first]);
    assert_eq!(list("status=completed").await, [&*first]);
    assert_eq!(list("status=pending").await, [&*second]);
    assert_eq!(list("status=rejected").await, [&*third]);
    assert_eq!(list("status=submit_unknown").await, [&*fourth]);
    assert!(list("status=failed").await.is_empty());
    assert_eq!(list("client=batch").await, [&*third, &second]);
    assert_eq!(list("client=batch&status=pending").await, [&*second]);
    assert!(list("client=nobody%27%20OR%201=1--").await.is_empty());
    let seconds = begun.as_millis() / 1000;
    for after in [format!("{begun}"), seconds.to_string()] {
        assert_eq!(
            list(&format!("created_after={after}")).await,
            [&*fourth, &third, &second]
        );
    }
    assert_eq!(
        list(&format!("created_after={}", seconds - 1)).await.len(),
        4
    );
    assert_eq!(list("created_after=2099-01-01T00:00:00Z").await.len(), 0);
    assert_eq!(list("limit=1000000000&client=web").await.len(), 2);
    assert_eq!(list("limit=99999999999999999999").await.len(), 4);
}

#[tokio::test]
async fn b13_a_bad_parameter_is_a_400_that_names_it() {
    let app = TestApp::start().await;
    let bad = [
        ("status", "done"),
        ("status", ""),
        ("status", "Completed"),
        ("created_after", "yesterday"),
        ("created_after", ""),
        ("created_after", "2026-13-01T00:00:00Z"),
        ("created_after", "99999999999999999999"),
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "NaN"),
        ("limit", "1.5"),
        ("limit", ""),
        ("limit", "%2B5"),
        ("limit", "10s"),
        ("cursor", ""),
        ("cursor", "-1"),
        ("cursor", "0"),
        ("cursor", "x"),
        ("cursor", "99999999999999999999"),
        ("client", "a%00b"),
        ("state", "pending"),
        ("offset", "2"),
    ];
    for (param, value) in bad {
        let answer = get(&app, &format!("/v1/tasks?{param}={value}")).await;
        answer.assert_error(400, "invalid_request", Some(param), value);
    }
    assert_eq!(get(&app, "/v1/tasks?").await.status, 200);
    assert_eq!(submit(&app, &generation("a")).await.status, 503);
}
