//! What the pages show.

use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::json;

use super::Browser;
use crate::support::app::answer::send;
use crate::support::app::{TestApp, quarantine};

/// The ids of the tasks in a part of the list, in their order.
fn ids(html: &str) -> Vec<String> {
    let items = html.split("<li class=\"task\" data-id=\"").skip(1);
    items
        .map(|item| item.split('"').next().unwrap().to_owned())
        .collect()
}

async fn submitted(app: &TestApp, prompt: &str, reference: &str) -> String {
    let request = app.request(Method::POST, "/v1/images/generations");
    let request = request.header("x-client-reference", reference);
    let answer = send(request.json(&json!({"model": "z-image-turbo", "prompt": prompt}))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("x-submission-id").unwrap().to_owned()
}

#[tokio::test]
async fn the_list_has_filters_in_its_address_and_leads_to_its_next_page() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let browser = Browser::of(&app);
    let empty = browser.get("/").await.text;
    assert!(
        empty.contains("No tasks yet") && empty.contains("href=\"/try\""),
        "{empty}"
    );
    let mut newest_first = Vec::new();
    for n in 0..50 {
        let prompt = format!("[sim:duration=10m] picture {n}");
        let id = submitted(&app, &prompt, if n == 7 { "seven" } else { "other" }).await;
        newest_first.insert(0, id);
    }
    let page = browser.get("/?layout=table&status=&kind=image").await;
    assert_eq!(page.status, 200);
    assert_eq!(ids(&page.text), newest_first[..48]);
    assert!(page.text.contains("picture 49") && page.text.contains("pending"));
    let next = page.text.split("rel=\"next\" href=\"").nth(1).unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    assert!(
        next.contains("kind=image") && next.contains("layout=table"),
        "{next}"
    );
    assert_eq!(ids(&browser.get(&next).await.text), newest_first[48..]);
    let part = next.replace("/?", "/fragments/tasks?");
    assert_eq!(ids(&browser.get(&part).await.text), newest_first[48..]);

    for (query, expected) in [
        ("reference=seven", vec![newest_first[42].clone()]),
        ("status=failed", vec![]),
        ("kind=video", vec![]),
        (
            "model=z-image-turbo&since=1h&reference=seven",
            vec![newest_first[42].clone()],
        ),
    ] {
        let page = browser.get(&format!("/?{query}")).await;
        assert_eq!(ids(&page.text), expected, "{query}");
        let asked = format!(
            "/fragments/tasks?ids={},{}&{query}",
            newest_first[42], newest_first[0]
        );
        assert_eq!(ids(&browser.get(&asked).await.text), expected, "{query}");
    }
    for bad in ["status=done", "since=yesterday", "cursor=x", "colour=red"] {
        let page = browser.get(&format!("/?{bad}")).await;
        assert_eq!(page.status, 400, "{bad}");
        let name = bad.split('=').next().unwrap();
        assert!(
            page.text.contains("role=\"alert\"") && page.text.contains(name),
            "{bad}"
        );
    }
    let many = vec![newest_first[0].as_str(); 51].join(",");
    let many = browser.get(&format!("/fragments/tasks?ids={many}")).await;
    many.assert_error(400, "invalid_request", Some("ids"), "51 ids");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_task_shows_its_story_its_request_and_its_result() {
    let builder = TestApp::builder().with(|config| {
        config.archive.enabled = true;
        config.archive.allow_networks = vec![evolink_receiver::config::Network::loopback()];
    });
    let (app, _evolink) = builder.start_with_simulator(Options::default()).await;
    let browser = Browser::of(&app);
    let request = json!({"model": "z-image-turbo", "prompt": "[sim:duration=0s] a lighthouse"});
    let request = app
        .request(Method::POST, "/v1/images/generations?wait=30&for=archived")
        .json(&request);
    let task = send(request).await;
    assert_eq!(task.body["receiver"]["state"], "completed", "{task:?}");
    let id = task.header("x-submission-id").unwrap();
    let page = browser.get(&format!("/tasks/{id}")).await;
    assert_eq!(page.status, 200);
    let task_id = task.body["id"].as_str().unwrap();
    for shown in [
        "a lighthouse",
        "Submit sent to EvoLink",
        "EvoLink answered the submit",
        "Event task.completed",
        "image/webp · ",
        "No endpoint is to receive",
        task_id,
        &format!("<img src=\"/tasks/{id}/files/0\" alt=\"Result 0 of: "),
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert_eq!(browser.get(&format!("/tasks/{task_id}")).await.status, 200);
    let file = browser.request(Method::GET, &format!("/tasks/{id}/files/0"));
    let file = file.send().await.unwrap();
    assert_eq!(file.headers()["content-type"], "image/webp");
    let policy = file.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("sandbox"), "{policy}");
    let part = browser.get(&format!("/fragments/tasks/{id}")).await;
    assert!(
        part.text.contains("data-part=\"timeline\""),
        "{}",
        part.text
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_said_on_a_page() {
    let app = TestApp::start().await;
    let browser = Browser::of(&app);
    for (path, status) in [
        ("/tasks/task-unified-1-none", 404),
        ("/tasks/01890000-0000-7000-8000-000000000000", 404),
        ("/tasks/a%20b", 400),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, status, "{path}");
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(
            page.text.contains("<h1>") && page.text.contains("All tasks"),
            "{}",
            page.text
        );
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn trouble_says_what_to_do_and_has_buttons() {
    let app = TestApp::start().await;
    let browser = Browser::of(&app);
    let clear = browser.get("/trouble").await.text;
    assert!(
        clear.contains("data-part=\"clear\" class=\"empty\""),
        "{clear}"
    );
    let database = app.database().await;
    let body = json!({"id": "task-unified-1-kept", "status": "completed", "results": ["https://x.example/a"]});
    let entry = quarantine::put(&database, "~shop", &body.to_string()).await;
    let (status, _) = app.callback("no-token", "{}").await;
    assert_eq!(status, 404);
    let page = browser.get("/trouble").await.text;
    for shown in [
        "data-part=\"clear\" hidden",
        "too new",
        "no token",
        &format!("data-post=\"/v1/quarantine/{entry}/replay\""),
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let replayed = browser
        .post(&format!("/v1/quarantine/{entry}/replay"))
        .await;
    assert_eq!(replayed.body["result"], "recorded", "{replayed:?}");
    let page = browser.get("/fragments/trouble").await.text;
    assert!(page.contains(": recorded"), "{page}");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn health_shows_each_component_and_the_minutes_of_the_last_hour() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let browser = Browser::of(&app);
    app.submitted("[sim:duration=10m] a cat").await;
    let token = app.standing_token("shop");
    let body = json!({"id": "task-unified-1-a", "status": "processing"}).to_string();
    assert_eq!(app.callback_result(&token, body).await, "recorded");
    let page = browser.get("/health").await;
    for shown in [
        "Ready",
        "Certificate",
        "Disk",
        "EvoLink",
        "data-plot=\"latency\"",
        "1<span>at most",
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    let minutes = browser.get("/fragments/health/minutes").await.body;
    let last = |name: &str, line: usize| {
        minutes[name][line]["values"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone()
    };
    assert_eq!(minutes["times"].as_array().unwrap().len(), 60);
    assert_eq!(
        (last("callbacks", 0), last("submits", 0)),
        (json!(1.0), json!(1.0))
    );
    assert!(last("latency", 0).as_f64().unwrap() > 0.0, "{minutes}");
    let first = &minutes["callbacks"][0]["values"][0];
    assert!(
        first.is_null(),
        "nothing was counted before the start: {first}"
    );
    app.stop().await.0.unwrap();
}
