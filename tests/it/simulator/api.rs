//! Submit, query, credits and errors, compared with EvoLink's documented page.

use serde_json::{Value, json};

use super::{Catcher, Stage, eventually};

#[tokio::test]
async fn the_example_of_the_page_gets_the_response_of_the_page() {
    let stage = Stage::start().await;
    let body = json!({"model": "z-image-turbo", "prompt": "a cute cat", "size": "1:1"});
    let answer = stage.send(stage.post(&body)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("x-request-id").is_some());
    let task = answer.json();
    let (id, created) = (
        task["id"].as_str().unwrap(),
        task["created"].as_i64().unwrap(),
    );
    let suffix = id
        .strip_prefix(&format!("task-unified-{created}-"))
        .unwrap();
    assert_eq!(suffix.len(), 8);
    let expected = json!({
        "created": created,
        "id": id,
        "model": "z-image-turbo",
        "object": "image.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": true, "estimated_time": 10},
        "type": "image",
        "usage": {"billing_rule": "per_call", "credits_reserved": 0.026, "user_group": "default"},
    });
    assert_eq!(task, expected);
}

#[tokio::test]
async fn every_bound_of_the_page_is_kept_and_named() {
    let stage = Stage::start().await;
    let long_url = format!("https://example.com/{}", "a".repeat(2048 - 19));
    let bad = [
        ("model", Value::Null),
        ("model", json!("")),
        ("model", json!(1)),
        ("prompt", Value::Null),
        ("prompt", json!("")),
        ("prompt", json!("é".repeat(2001))),
        ("prompt", json!(["a cat"])),
        ("size", json!("5:4")),
        ("size", json!("375x1024")),
        ("size", json!("1024x1537")),
        ("size", json!("1024X1024")),
        ("size", json!("+512x512")),
        ("size", json!("0512x512")),
        ("size", json!(" 512x512")),
        ("size", json!(1)),
        ("seed", json!(0)),
        ("seed", json!(2_147_483_648_u32)),
        ("seed", json!(-1)),
        ("seed", json!(1.5)),
        ("seed", json!("1")),
        ("nsfw_check", json!("true")),
        ("nsfw_check", json!(1)),
        ("callback_url", json!(long_url)),
        ("callback_url", json!("http://example.com/x")),
        ("callback_url", json!("example.com/x")),
        ("callback_url", json!(1)),
    ];
    for (name, value) in bad {
        let mut body = json!({"model": "z-image-turbo", "prompt": "a cute cat"});
        body[name] = value.clone();
        let answer = stage.send(stage.post(&body)).await;
        assert_eq!(answer.status, 400, "{name} {value}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], "invalid_request", "{name} {value}");
        assert_eq!(error["type"], "invalid_request_error", "{name} {value}");
        assert_eq!(error["param"], name, "{value}");
    }
    assert_eq!(stage.simulator.stats().charges, 0);
}

#[tokio::test]
async fn internal_callback_addresses_are_refused_unless_allowed() {
    let strict = Stage::with(Catcher::start().await, |options| {
        options.allow_private_callbacks = false;
    })
    .await;
    let answer = strict.submit("a cat").await;
    assert_eq!(
        (answer.status, answer.json()["error"]["param"].clone()),
        (400, json!("callback_url"))
    );
    let body =
        json!({"model": "z-image-turbo", "prompt": "x", "callback_url": "https://localhost/x"});
    assert_eq!(strict.send(strict.post(&body)).await.status, 400);
}

#[tokio::test]
async fn only_the_right_bearer_token_is_let_in() {
    let any_key = Stage::start().await;
    let one_key = Stage::with(Catcher::start().await, |options| {
        options.api_key = Some("right".to_owned());
    })
    .await;
    let body = json!({"model": "z-image-turbo", "prompt": "a cat"});
    let authorized = async |stage: &Stage, value: &'static str| {
        let mut request = stage.post(&body).build().unwrap();
        let value = http::HeaderValue::from_static(value);
        request.headers_mut().insert("authorization", value);
        stage
            .client
            .execute(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(authorized(&any_key, "Bearer anything").await, 200);
    assert_eq!(authorized(&any_key, "Bearer ").await, 401);
    assert_eq!(authorized(&any_key, "Basic x").await, 401);
    assert_eq!(authorized(&one_key, "Bearer right").await, 200);
    let answer = one_key.submit("a cat").await;
    assert_eq!((answer.status, answer.code()), (401, json!("unauthorized")));
    assert_eq!(answer.json()["error"]["type"], "authentication_error");
    assert_eq!(one_key.query("task-unified-1-abcdefgh").await.status, 401);
    assert_eq!(one_key.get("/v1/credits").await.status, 401);
}

#[tokio::test]
async fn bodies_that_are_no_json_object_are_refused() {
    let stage = Stage::start().await;
    let raw = |content_type: &str, body: String| {
        let url = format!("{}/v1/images/generations", stage.simulator.base_url());
        let request = stage.client.post(url).bearer_auth("key").body(body);
        stage.send(request.header("content-type", content_type))
    };
    let good = json!({"model": "z-image-turbo", "prompt": "a cat"}).to_string();
    assert_eq!(
        raw("application/json; charset=utf-8", good.clone())
            .await
            .status,
        200
    );
    assert_eq!(raw("text/plain", good.clone()).await.status, 400);
    assert_eq!(
        raw("application/json", good[1..].to_owned()).await.status,
        400
    );
    assert_eq!(
        raw("application/json", format!("[{good}]")).await.status,
        400
    );
    assert_eq!(
        raw("application/json", "a".repeat(1 << 21)).await.status,
        413
    );
}

#[tokio::test]
async fn a_task_is_pending_then_processing_with_rising_progress_then_completed() {
    let stage = Stage::start().await;
    let id = stage.task("[sim:duration=600ms]").await;
    let mut seen: Vec<(String, u64)> = Vec::new();
    for _ in 0..2000 {
        let task = stage.query(&id).await.json();
        let status = task["status"].as_str().unwrap().to_owned();
        let is_over = status == "completed";
        seen.push((status, task["progress"].as_u64().unwrap()));
        if is_over {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(seen.is_sorted_by_key(|(_, progress)| *progress), "{seen:?}");
    let order = |status: &str| {
        ["pending", "processing", "completed"]
            .iter()
            .position(|s| *s == status)
    };
    assert!(
        seen.is_sorted_by_key(|(status, _)| order(status).unwrap()),
        "{seen:?}"
    );
    assert_eq!(seen.last().unwrap(), &("completed".to_owned(), 100));
}

#[tokio::test]
async fn queries_know_good_ids_only() {
    let stage = Stage::start().await;
    let answer = stage.query("task-1").await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, json!("invalid_task_id"))
    );
    assert_eq!(answer.json()["error"]["param"], "task_id");
    let answer = stage.query("task-unified-1-abcdefgh").await;
    assert_eq!(
        (answer.status, answer.code()),
        (404, json!("task_not_found"))
    );
}

#[tokio::test]
async fn credits_are_reserved_charged_and_given_back() {
    let stage = Stage::with(Catcher::start().await, |options| options.credits_milli = 60).await;
    let credits = async || {
        let data = stage.get("/v1/credits").await.json()["data"]["user"].clone();
        let number = |name: &str| data[name].as_f64().unwrap();
        (number("remaining_credits"), number("used_credits"))
    };
    assert_eq!(credits().await, (0.06, 0.0));
    stage.task("[sim:never-ends]").await;
    assert_eq!(credits().await, (0.034, 0.0));
    stage.task("[sim:fail]").await;
    eventually(|| stage.simulator.stats().refunds == 1).await;
    assert_eq!(credits().await, (0.034, 0.0));
    stage.task("a cat").await;
    eventually(|| stage.simulator.stats().tasks_running == 1).await;
    assert_eq!(credits().await, (0.008, 0.026));
    let answer = stage.submit("one too many").await;
    assert_eq!(
        (answer.status, answer.code()),
        (402, json!("insufficient_quota"))
    );
    assert_eq!(stage.simulator.stats().charges, 3);
}

#[tokio::test]
async fn an_idempotency_key_replays_only_when_switched_on() {
    for is_on in [false, true] {
        let stage = Stage::with(Catcher::start().await, |options| {
            options.idempotency_keys = is_on;
        })
        .await;
        let submit = |prompt: &str, key: &str| {
            stage.send(
                stage
                    .post(&stage.request(prompt))
                    .header("idempotency-key", key),
            )
        };
        let first = submit("a cat", "0123456789abcdef").await;
        let second = submit("a cat", "0123456789abcdef").await;
        assert_eq!(first.json()["id"] == second.json()["id"], is_on);
        assert_eq!(
            second.header("idempotency-replayed"),
            is_on.then_some("true")
        );
        assert_eq!(stage.simulator.stats().charges, if is_on { 1 } else { 2 });
        let conflict = submit("a dog", "0123456789abcdef").await;
        assert_eq!(conflict.status, if is_on { 409 } else { 200 });
        let short = submit("a cat", "too-short").await;
        assert_eq!(short.status, if is_on { 400 } else { 200 });
        let seen = stage.simulator.submits();
        assert_eq!(seen[0].idempotency_key.as_deref(), Some("0123456789abcdef"));
        assert_eq!(seen[0].headers["authorization"], "Bearer key");
        assert_eq!(seen[0].body["callback_url"], stage.catcher.url());
    }
}

#[tokio::test]
async fn another_process_reads_the_same_numbers() {
    let stage = Stage::start().await;
    let id = stage.task("a cat").await;
    stage.caught(1).await;
    eventually(|| stage.simulator.stats().callbacks_acknowledged == 1).await;
    let stats = stage.get("/simulator/stats").await.json();
    assert_eq!(
        (&stats["submits"], &stats["charges"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        stage.get("/simulator/tasks").await.json()["data"][0]["id"],
        id.as_str()
    );
    assert_eq!(
        stage.get("/simulator/callbacks").await.json()["data"][0]["status"],
        200
    );
    stage.query(&id).await;
    let queries = stage.get("/simulator/queries").await.json();
    assert_eq!(queries["data"][0]["task_id"], id.as_str());
    let submits = stage.get("/simulator/submits").await;
    assert_eq!(submits.json()["data"][0]["body"]["prompt"], "a cat");
    assert!(!submits.text.contains("Bearer"));
    assert!(
        stage
            .get("/simulator/magic-prompts")
            .await
            .text
            .contains("[sim:lost-callback]")
    );
}

#[tokio::test]
async fn models_need_a_key_and_the_catalog_has_a_tag() {
    let stage = Stage::start().await;
    let models = stage.get("/v1/models").await;
    let ids = models.json()["data"].as_array().unwrap().len();
    assert_eq!((models.status, ids), (200, 4));
    for part in ["models", "health", "pricing", "pricing-rules", "setup"] {
        let answer = stage.get(&format!("/v1/catalog/{part}")).await;
        assert_eq!(answer.status, 200, "{part}");
        assert!(answer.header("etag").is_some(), "{part}");
        assert_eq!(answer.json()["meta"]["catalog_version"], "1", "{part}");
    }
    let rules = stage.get("/v1/catalog/models/suno-v5/pricing-rules").await;
    assert_eq!(rules.status, 200);
    let unknown = stage.get("/v1/catalog/models/none/pricing-rules").await;
    assert_eq!(unknown.status, 404);
}
