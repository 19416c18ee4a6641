//! Reads that EvoLink answers, and its own forms of lists that we answer.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::answer::{Answer, get, send};
use crate::support::app::waiting::told;
use crate::support::app::{EVOLINK_KEY, TestApp};
use crate::support::net::raw::RawClient;
use crate::support::net::raw_server::{End, RawServer, http};

async fn in_front_of(evolink: &RawServer) -> TestApp {
    let url = evolink.url.parse().unwrap();
    let builder = TestApp::builder().with(|config| {
        config.evolink.base_url = url;
        config.evolink.pass_unknown_tasks = true;
    });
    builder.start().await
}

fn target(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

async fn get_with(app: &TestApp, path: &str, etag: &str) -> Answer {
    send(app.request(Method::GET, path).header("if-none-match", etag)).await
}

#[tokio::test]
async fn models_are_read_with_our_key_and_the_catalog_without_it() {
    let body = r#"{"data":[{"id":"z-image-turbo"}]}"#;
    let evolink = RawServer::start(http(200, &["ETag: \"v1\""], body), End::Close).await;
    let app = in_front_of(&evolink).await;
    for (path, has_key) in [
        ("/v1/models", true),
        ("/v1/credits", true),
        ("/v1/catalog/models?capability=image&lifecycle=ga", false),
        ("/v1/catalog/health", false),
        ("/v1/catalog/pricing", false),
        ("/v1/catalog/pricing-rules", false),
        ("/v1/catalog/setup", false),
        ("/v1/catalog/models/z-image-turbo/pricing-rules", false),
    ] {
        let before = evolink.requests().len();
        let answer = get(&app, path).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, body), "{path}");
        assert_eq!(answer.header("etag"), Some("\"v1\""));
        let sent = evolink.requests().remove(before);
        assert_eq!(target(&sent), path);
        assert_eq!(sent.contains(EVOLINK_KEY), has_key, "{sent}");
        // The answer is kept for a while, also for a client that has it already.
        assert_eq!(get_with(&app, path, "\"v1\"").await.status, 304, "{path}");
        assert_eq!(get_with(&app, path, "\"v0\"").await.status, 200, "{path}");
        assert_eq!(evolink.requests().len(), before + 1, "{path}");
    }
    let bad = get(&app, "/v1/catalog/models/a%2Fb/pricing-rules").await;
    bad.assert_error(400, "invalid_request", Some("model"), "a path");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn errors_of_evolink_come_in_its_form() {
    let page = "<html>busy</html>";
    for (answer, status, code) in [
        (http(503, &[], page), 503, "evolink_error"),
        (
            http(302, &["Location: https://elsewhere.example/"], ""),
            502,
            "evolink_unreadable",
        ),
        (http(200, &[], page), 502, "evolink_unreadable"),
        (
            http(401, &[], r#"{"error":{"code":"unauthorized"}}"#),
            502,
            "evolink_key_rejected",
        ),
        (
            http(404, &[], r#"{"error":{"code":"not_found"}}"#),
            404,
            "not_found",
        ),
    ] {
        let evolink = RawServer::start(answer, End::Close).await;
        let app = in_front_of(&evolink).await;
        let refused = get(&app, "/v1/models").await;
        assert_eq!(
            (refused.status, &refused.body["error"]["code"]),
            (status, &code.into())
        );
        app.stop().await.0.unwrap();
    }
}

#[tokio::test]
async fn more_reads_than_the_limit_are_a_429_and_do_not_reach_evolink() {
    let evolink = RawServer::start(http(500, &[], "{}"), End::Close).await;
    let app = in_front_of(&evolink).await;
    let mut refused = 0;
    // Of different paths, because equal reads share one call.
    let paths = (0..200).map(|n| format!("/v1/catalog/models/m{n}/pricing-rules"));
    let paths: Vec<String> = paths.collect();
    let at_once = paths.iter().map(|path| get(&app, path));
    for answer in futures_util::future::join_all(at_once).await {
        if answer.status == 429 {
            answer.assert_error(429, "rate_limit_exceeded", None, "too many");
            assert!(answer.header("retry-after").is_some());
            refused += 1;
        }
    }
    assert_eq!(evolink.requests().len() + refused, 200);
    assert!(
        refused > 0,
        "200 reads are more than the limit of many seconds"
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_price_is_asked_for_with_the_request_of_the_app() {
    let evolink = RawServer::start(http(200, &[], r#"{"price":1.50}"#), End::Close).await;
    let app = in_front_of(&evolink).await;
    let body = json!({"model_id": "m", "parameters": {"n": 1}});
    let answer = send(app.request(Method::POST, "/v1/agent-estimates").json(&body)).await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (200, r#"{"price":1.50}"#)
    );
    let sent = evolink.requests().remove(0);
    assert!(sent.starts_with("POST /v1/agent-estimates "), "{sent}");
    assert!(sent.ends_with(&body.to_string()), "{sent}");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_task_that_is_not_ours_is_asked_for_and_recorded_nowhere() {
    let theirs = r#"{"id":"task-unified-1-theirs","status":"processing","x":1.50}"#;
    let absent =
        r#"{"error":{"code":"task_not_found","message":"no","type":"invalid_request_error"}}"#;
    let evolink = RawServer::start_answering(
        move |request| {
            if target(request).ends_with("theirs") {
                http(200, &[], theirs)
            } else {
                http(404, &[], absent)
            }
        },
        End::Close,
    )
    .await;
    let app = in_front_of(&evolink).await;
    let answer = get(&app, "/v1/tasks/task-unified-1-theirs").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, theirs));
    let answer = get(&app, "/v1/tasks/task-unified-1-absent").await;
    answer.assert_error(404, "task_not_found", None, "absent");
    for path in ["/v1/tasks/%2E%2E", "/v1/tasks/%2e", "/v1/tasks/..%2Ftasks"] {
        let mut client = RawClient::connect_plain(app.internal).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(request).await;
        assert_eq!(client.read_response().await.status, 400, "{path}");
    }
    let ours = get(&app, "/v1/tasks/01890000-0000-7000-8000-000000000001").await;
    ours.assert_error(404, "task_not_found", None, "our own id is asked nobody");
    assert_eq!(evolink.requests().len(), 2);
    let list = get(&app, "/v1/tasks").await.body;
    assert_eq!(list["data"], json!([]));
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_batch_has_the_tasks_that_are_known_in_the_order_of_its_ids() {
    let app = TestApp::start().await;
    for number in 0..3 {
        told(&app, &format!("task-{number}"), "completed").await;
    }
    let post =
        async |body: Value| send(app.request(Method::POST, "/v1/tasks/batch").json(&body)).await;
    let answer = post(json!({"task_ids": ["task-2", "task-absent", "task-0"]})).await;
    let (first, second) = (
        get(&app, "/v1/tasks/task-2").await,
        get(&app, "/v1/tasks/task-0").await,
    );
    assert_eq!(
        (answer.status, &answer.body),
        (200, &json!({"data": [first.body, second.body]}))
    );
    assert!(
        answer.text.contains(r#""status":"completed""#),
        "shell clients search for it"
    );
    let many: Vec<String> = (0..51).map(|number| format!("task-{number}")).collect();
    for bad in [
        json!({"task_ids": []}),
        json!({"task_ids": many}),
        json!({"task_ids": "task-1"}),
        json!({"task_ids": ["a b"]}),
        json!({}),
        json!([]),
    ] {
        let refused = post(bad.clone()).await;
        refused.assert_error(400, "invalid_request", Some("task_ids"), &bad.to_string());
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn numbered_pages_have_the_total_and_no_results() {
    let app = TestApp::start().await;
    for (number, status) in ["completed", "failed", "processing", "pending", "completed"]
        .iter()
        .enumerate()
    {
        told(&app, &format!("task-{number}"), status).await;
    }
    let page = async |query: &str| get(&app, &format!("/v1/tasks?{query}")).await.body;
    let ids = |page: &Value| -> Vec<String> {
        let tasks = page["data"].as_array().unwrap().iter();
        tasks
            .map(|task| task["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = page("page=1&page_size=2").await;
    assert_eq!(ids(&first), ["task-4", "task-3"]);
    assert_eq!(
        (&first["total"], &first["page"], &first["page_size"]),
        (&5.into(), &1.into(), &2.into())
    );
    let (done, open) = (&first["data"][0], &first["data"][1]);
    assert_eq!(
        (&done["has_results"], &open["has_results"]),
        (&true.into(), &false.into())
    );
    assert!(
        done["created_at"].is_i64() && done["results"].is_null(),
        "{done}"
    );
    assert_eq!(ids(&page("page=3&page_size=2").await), ["task-0"]);
    assert_eq!(ids(&page("page=4&page_size=2").await), [""; 0]);
    let open = page("page=1&status=processing").await;
    assert_eq!(
        (ids(&open), &open["total"]),
        (vec!["task-3".to_owned(), "task-2".to_owned()], &2.into())
    );
    assert_eq!(ids(&page("page_size=9&status=failed").await), ["task-1"]);
    assert_eq!(page("page=1&type=video").await["total"], 0);
    for (query, param) in [
        ("page=0", "page"),
        ("page_size=x", "page_size"),
        ("page=1&type=text", "type"),
        ("page=1&status=done", "status"),
        ("page=1&cursor=a", "cursor"),
    ] {
        let refused = get(&app, &format!("/v1/tasks?{query}")).await;
        refused.assert_error(400, "invalid_request", Some(param), query);
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_numbered_page_beyond_the_examined_tasks_is_an_error_and_not_the_end() {
    let app = TestApp::start().await;
    let database = app.database().await;
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005)
        INSERT INTO task (seq, submission_id, origin, state, progress, observations, submitted_at, polls, empty_polls,
            missed_polls, kind)
        SELECT i, '01890000-0000-7000-8000-' || substr('000000000000' || CAST(i AS TEXT), length(CAST(i AS TEXT)) + 1),
            'submit', 'rejected', 0, 0, 1, 0, 0, 0, CASE WHEN i < 4 THEN 'video' ELSE 'image' END
        FROM n";
    database.execute(fill).await;
    let last = get(&app, "/v1/tasks?page=100&page_size=100").await;
    assert_eq!(last.status, 200, "{}", last.text);
    assert_eq!(last.body["data"].as_array().map(Vec::len), Some(100));
    assert_eq!(last.body["total"], 10_000);
    // The videos are older than the tasks that are examined.
    for query in ["page=101&page_size=100", "page=1&type=video"] {
        let refused = get(&app, &format!("/v1/tasks?{query}")).await;
        refused.assert_error(400, "invalid_request", Some("page"), query);
    }
    let by_cursor = get(&app, "/v1/tasks?kind=video&limit=200").await;
    assert_eq!(by_cursor.status, 200, "{}", by_cursor.text);
    app.stop().await.0.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_that_read_the_same_at_once_share_one_call() {
    let answer = |_: &str| {
        // Long enough for the others to come meanwhile.
        std::thread::sleep(std::time::Duration::from_millis(300));
        http(200, &[], r#"{"data":[{"id":"z-image-turbo"}]}"#)
    };
    let evolink = RawServer::start_answering(answer, End::Close).await;
    let url = evolink.url.parse().unwrap();
    let builder = TestApp::builder().with(|config| config.evolink.base_url = url);
    let app = builder.start().await;
    let reads = (0..30).map(|_| get(&app, "/v1/models"));
    let answers = futures_util::future::join_all(reads).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(evolink.requests().len(), 1);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_base_url_with_a_slip_gets_the_route_that_was_meant() {
    let app = TestApp::start().await;
    for path in ["//v1/tasks", "/v1/v1/tasks", "/tasks"] {
        let answer = get(&app, path).await;
        answer.assert_error(404, "not_found", None, path);
        assert!(
            answer.text.contains("did you mean /v1/tasks?"),
            "{}",
            answer.text
        );
    }
    app.stop().await.0.unwrap();
}
