//! Submits of every kind, for models whose page we do not know.

use std::time::Duration;

use evolink_receiver::domain::generation::models::ModelList;
use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::{Value, json};

use crate::internal::calls::row_counts;
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, get, send};
use crate::support::net::raw_server::{End, RawServer, http};

const ROUTES: [(&str, &str); 3] = [
    ("image", "/v1/images/generations"),
    ("video", "/v1/videos/generations"),
    ("audio", "/v1/audios/generations"),
];

async fn post(app: &TestApp, path: &str, body: impl Into<String>) -> Answer {
    let request = app.request(Method::POST, path);
    let request = request.header("content-type", "application/json");
    send(request.body(body.into())).await
}

async fn started() -> (TestApp, evolink_receiver::simulator::Simulator) {
    TestApp::builder()
        .with(|config| config.reconcile.interval_min = Duration::from_secs(1))
        .start_with_simulator(Options::default())
        .await
}

#[tokio::test]
async fn each_kind_is_submitted_through_its_route_and_ends_with_its_results() {
    let (app, evolink) = started().await;
    for (kind, path) in ROUTES {
        let body = json!({"model": format!("a-{kind}-model"), "prompt": "a cat [sim:duration=10ms]", "model_params": {"x": [1.5]}});
        let answer = post(&app, &format!("{path}?wait=30"), body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let (task, receiver) = (&answer.body, &answer.body["receiver"]);
        assert_eq!(task["status"], "completed", "{kind}: {}", answer.text);
        assert_eq!(
            (&task["type"], &receiver["kind"]),
            (&kind.into(), &kind.into())
        );
        assert_eq!(task["model"], format!("a-{kind}-model"));
        assert_eq!(receiver["request"]["model_params"], json!({"x": [1.5]}));
        // EvoLink sends the callbacks of sounds in stages, so a poll confirms them.
        let source = if kind == "audio" { "poll" } else { "callback" };
        assert_eq!(receiver["source"], source, "{kind}");
        for query in [format!("kind={kind}"), format!("model=a-{kind}-model")] {
            let found = get(&app, &format!("/v1/tasks?{query}")).await.body;
            let ids: Vec<&Value> = found["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|task| &task["id"])
                .collect();
            assert_eq!(ids, [&task["id"]], "{query}");
        }
    }
    assert_eq!(evolink.submits().len(), 3);
    let bad = get(&app, "/v1/tasks?kind=text").await;
    bad.assert_error(400, "invalid_request", Some("kind"), "an unknown kind");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_body_reaches_evolink_byte_for_byte_except_for_the_callback_url() {
    let answer = r#"{"id":"task-unified-1-video","status":"pending"}"#;
    let evolink = RawServer::start(http(200, &[], answer), End::Close).await;
    let url = evolink.url.parse().unwrap();
    let builder = TestApp::builder().with(|config| {
        config.evolink.base_url = url;
        config.forward.allowed_hosts = vec!["app.example".to_owned()];
    });
    let app = builder.start().await;
    let own = r#"{ "model":"m",  "x":1.50e1, "é":"\u00e9", "callb\u0061ck_url":"http://app.example/", "y":[ ]}"#;
    let answer = post(&app, "/v1/videos/generations", own).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let id = answer.header("x-submission-id").unwrap();
    let ours = format!(
        "{}callbacks/{}",
        app.config.public.base_url,
        crate::internal::calls::token_of(&app, id)
    );
    let sent = evolink.requests().remove(0);
    assert!(
        sent.starts_with("POST /v1/videos/generations HTTP/1.1\r\n"),
        "{sent}"
    );
    let body = sent.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body, own.replace("http://app.example/", &ours));
    let task = get(&app, &format!("/v1/tasks/{id}")).await.body;
    assert!(!task.to_string().contains(&ours), "{task}");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_body_that_has_no_single_meaning_is_refused_for_every_model() {
    let (app, evolink) = started().await;
    let before = row_counts(&app).await;
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(129));
    for (body, param) in [
        ("[]", None),
        ("{}", Some("model")),
        (r#"{"model":""}"#, Some("model")),
        (r#"{"model":7}"#, Some("model")),
        (long.as_str(), Some("model")),
        (r#"{"model":"m","x":{"a":1,"a":2}}"#, Some("x.a")),
        (r#"{"model":"m","model":"n"}"#, Some("model")),
        (
            r#"{"model":"m","callback_url":"http://10.0.0.1/"}"#,
            Some("callback_url"),
        ),
        (
            r#"{"model":"m","Callback_URL":"https://a/"}"#,
            Some("Callback_URL"),
        ),
        (r#"{"model":"m","MODEL":"n"}"#, Some("MODEL")),
        (r#"{"model":"m","callback_url":7}"#, Some("callback_url")),
    ] {
        let answer = post(&app, "/v1/audios/generations", body).await;
        answer.assert_error(400, "invalid_request", param, body);
    }
    assert_eq!(row_counts(&app).await, before);
    assert!(evolink.submits().is_empty());
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_model_that_may_not_be_spent_on_is_refused_and_nothing_is_sent() {
    let builder = TestApp::builder().with(|config| {
        config.evolink.models =
            ModelList::new(vec!["z-image-turbo".to_owned(), "veo-*".to_owned()]);
    });
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let before = row_counts(&app).await;
    let refused = post(&app, "/v1/videos/generations", r#"{"model":"sora-2"}"#).await;
    refused.assert_error(403, "model_not_allowed", Some("model"), "sora-2");
    assert_eq!(row_counts(&app).await, before);
    assert!(evolink.submits().is_empty());
    let accepted = post(&app, "/v1/videos/generations", r#"{"model":"veo-3"}"#).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn the_same_idempotency_key_on_another_route_is_a_422() {
    let (app, _evolink) = started().await;
    let submit = async |path: &str| {
        let request = app.request(Method::POST, path);
        let request = request.header("idempotency-key", "a-key-of-one-submit");
        send(request.json(&json!({"model": "m", "prompt": "p"}))).await
    };
    let first = submit("/v1/images/generations").await;
    assert_eq!(first.status, 200, "{}", first.text);
    let other = submit("/v1/videos/generations").await;
    assert_eq!(other.status, 422, "{}", other.text);
    let again = submit("/v1/images/generations").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_long_prompt_passes_and_a_body_beyond_the_bound_does_not() {
    let builder = TestApp::builder().with(|config| {
        config.internal.max_body = evolink_receiver::config::ByteSize::kib(512);
    });
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let escaped = "\\u65e5".repeat(60_000);
    let body = format!(r#"{{"model":"gpt-image-2","prompt":"{escaped}"}}"#);
    let answer = post(&app, "/v1/images/generations", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        evolink.submits()[0].body["prompt"],
        "\u{65e5}".repeat(60_000)
    );
    // Only members that fit into the bound are kept with the task.
    let id = answer.body["id"].as_str().unwrap();
    let task = get(&app, &format!("/v1/tasks/{id}")).await.body;
    assert_eq!(task["receiver"]["request"], json!({"model": "gpt-image-2"}));
    let long = format!(r#"{{"model":"m","prompt":"{}"}}"#, "a".repeat(512 * 1024));
    let refused = post(&app, "/v1/images/generations", long).await;
    refused.assert_error(413, "request_too_large", None, "512 KiB");
    app.stop().await.0.unwrap();
}

/// Some models complete with an id alone. That is their result, and not a doubtful completion.
#[tokio::test]
async fn a_task_that_completes_with_data_alone_is_finished_at_once() {
    let (app, _evolink) = started().await;
    let token = app.standing_token("shop");
    for (number, members) in [
        json!({"result_data": {"element_id": "e-1"}}),
        json!({"result_data": [{"video_url": "https://files.evolink.ai/a.mp4"}]}),
        json!({"result_urls": ["https://files.evolink.ai/a.mp4"]}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body =
            json!({"id": format!("task-{number}"), "status": "completed", "type": "video"});
        body.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        assert_eq!(
            app.callback_result(&token, body.to_string()).await,
            "recorded"
        );
        let task = get(&app, &format!("/v1/tasks/task-{number}")).await.body;
        assert_eq!(task["receiver"]["state"], "completed", "{task}");
        assert_eq!(task["receiver"]["kind"], "video");
        assert_eq!(
            app.callback_result(&token, body.to_string()).await,
            "duplicate"
        );
        body["result_data"] = json!({"element_id": "another"});
        assert_eq!(
            app.callback_result(&token, body.to_string()).await,
            "conflict"
        );
    }
    app.stop().await.0.unwrap();
}
