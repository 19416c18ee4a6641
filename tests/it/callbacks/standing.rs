//! Standing callback URLs: a task that an app submits to EvoLink itself is accepted under a label.

use std::process::Command;
use std::time::Duration;

use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::support::app::callback_body::{body, completed};
use crate::support::app::desk::{Answer, Desk, Submit};
use crate::support::app::{EVOLINK_KEY, TestApp};

/// The output of `callback-url --label` for the receiver `app`.
async fn minted(app: &TestApp, label: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    command.args(["callback-url", "--label", label]).env_clear();
    command.env(
        "EVOLINK_RECEIVER__PUBLIC__BASE_URL",
        app.config.public.base_url.as_str(),
    );
    command.env(
        "EVOLINK_RECEIVER__CALLBACK_TOKENS__KEY_FILE",
        &app.config.callback_tokens.key_file,
    );
    let ended = spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

/// An app's own submit to EvoLink. Returns the task id.
async fn submit_to_evolink(simulator: &Simulator, prompt: &str, url: &str) -> String {
    let body = json!({"model": "z-image-turbo", "prompt": prompt, "callback_url": url});
    let address = format!(
        "{}/v1/images/generations",
        simulator.base_url().trim_end_matches('/')
    );
    // Not the app's client, which knows the answers of the receiver only.
    let evolink = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = evolink.post(address).bearer_auth(EVOLINK_KEY).json(&body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}

#[tokio::test]
async fn a_task_that_an_app_submits_itself_is_recorded_under_the_label() {
    let (app, simulator) = TestApp::start_with_simulator(Options::default()).await;
    let url = minted(&app, "shop").await;
    let mut ids = Vec::new();
    for prompt in ["a cat [sim:duration=10ms]", "a dog [sim:duration=10ms]"] {
        ids.push(submit_to_evolink(&simulator, prompt, &url).await);
    }
    for id in &ids {
        let task = app
            .task_when(id, |task| task["status"] == "completed")
            .await;
        assert_eq!(
            (&task["receiver"]["client"], &task["receiver"]["source"]),
            (&json!("shop"), &json!("callback"))
        );
    }
    let other = minted(&app, "other").await;
    let third = submit_to_evolink(&simulator, "[sim:duration=10ms]", &other).await;
    app.task_when(&third, |task| task["status"] == "completed")
        .await;
    let (_, page) = app.get("/v1/tasks?client=shop").await;
    let mut listed: Vec<&str> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["id"].as_str().unwrap())
        .collect();
    listed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(listed, ids);
    let (_, history) = app.get(&format!("/v1/tasks/{}/events", ids[0])).await;
    let first = &history["data"][0];
    assert_eq!(
        [&first["type"], &first["bound"], &first["after_ms"]],
        [&json!("observation"), &json!("taken_in"), &json!(null)],
        "when it was submitted nobody told us: {history}"
    );
    app.assert_counters_balance();
}

#[tokio::test]
async fn a_client_that_escapes_whatever_it_can_reaches_the_url() {
    let desk = Desk::open().await;
    let url = minted(&desk.app, "my-shop_1").await;
    let token = url.rsplit_once('/').unwrap().1;
    // Python's urllib did so before 3.7.
    let escape = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c.to_string(),
        c => format!("%{:02X}", u32::from(c)),
    };
    let sent: String = token.chars().map(escape).collect();
    let id = "task-unified-1757165031-escaped1";
    assert_eq!(
        desk.app.callback_result(&sent, completed(id)).await,
        "recorded"
    );
}

#[tokio::test]
async fn a_task_known_only_by_its_progress_is_polled() {
    let desk = Desk::open().await;
    let url = minted(&desk.app, "shop").await;
    let prompt = "[sim:lost-callback,duration=0ms]";
    let id = submit_to_evolink(&desk.simulator, prompt, &url).await;
    assert_eq!(
        desk.app.get(&format!("/v1/tasks/{id}")).await.0,
        404,
        "nobody knows of it yet"
    );
    let token = url.rsplit_once('/').unwrap().1;
    let processing = body(&id, "processing", &json!({"progress": 40}));
    assert_eq!(
        desk.app.callback_result(token, processing).await,
        "recorded"
    );
    desk.app.clock.advance(Duration::from_mins(1));
    let task = desk
        .app
        .task_when(&id, |task| task["status"] == "completed")
        .await;
    assert_eq!(
        (&task["receiver"]["client"], &task["receiver"]["source"]),
        (&json!("shop"), &json!("poll"))
    );
}

#[tokio::test]
async fn a_standing_url_neither_changes_an_outcome_nor_speaks_for_a_submission() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let standing = Submit {
        token: desk.app.standing_token("shop"),
        ..submit.clone()
    };
    desk.check(
        "a submission's",
        &standing,
        completed(&submit.task_id),
        Answer::Q409,
    )
    .await;
    let id = "task-unified-1757165031-standin1";
    assert_eq!(
        desk.app
            .callback_result(&standing.token, completed(id))
            .await,
        "recorded"
    );
    let failed = body(id, "failed", &json!({}));
    for _ in 0..2 {
        assert_eq!(
            desk.app
                .callback_result(&standing.token, failed.clone())
                .await,
            "conflict"
        );
    }
    assert_eq!(
        desk.app.get(&format!("/v1/tasks/{id}")).await.1["status"],
        "completed"
    );
    let (_, page) = desk.app.get("/v1/quarantine?subject=~shop").await;
    let kinds: Vec<_> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].clone())
        .collect();
    assert_eq!(kinds, ["conflict", "mismatch"]);
    // An operator who reads the submission's history sees that another sender reported on it.
    let (_, history) = desk
        .app
        .get(&format!("/v1/tasks/{}/events", submit.task_id))
        .await;
    let items = history["data"].as_array().unwrap();
    let odd = items
        .iter()
        .find(|item| item["type"] == "quarantine")
        .unwrap();
    assert_eq!(
        [&odd["result"], &odd["subject"], &odd["submission_id"]],
        [
            &json!("mismatch"),
            &json!("~shop"),
            &json!(submit.submission_id)
        ]
    );
}

#[tokio::test]
async fn what_is_kept_of_one_label_is_bounded_and_its_good_callbacks_are_taken_in() {
    let desk = Desk::open().await;
    let token = desk.app.standing_token("shop");
    for n in 0..50 {
        assert_eq!(desk.app.callback(&token, format!("bad {n}")).await.0, 400);
    }
    let (_, page) = desk.app.get("/v1/quarantine?limit=200").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 20);
    let id = "task-unified-1757165031-standin2";
    assert_eq!(
        desk.app.callback_result(&token, completed(id)).await,
        "recorded"
    );
    let other = desk.app.standing_token("other");
    assert_eq!(desk.app.callback(&other, "bad 0").await.0, 400);
    let (_, page) = desk.app.get("/v1/quarantine?subject=~other").await;
    assert_eq!(
        page["data"].as_array().unwrap().len(),
        1,
        "of each label by itself"
    );
}
