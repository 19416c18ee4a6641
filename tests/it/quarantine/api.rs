//! `GET /v1/quarantine`, `GET /v1/quarantine/{id}`: what an operator sees, and what is refused
//! (rule B13).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::callback_body::completed;
use crate::support::app::quarantine::{hex, put, replay};
use crate::support::app::{EVOLINK_KEY, TestApp};

fn ids(page: &Value) -> Vec<i64> {
    let entries = page["data"]
        .as_array()
        .unwrap_or_else(|| panic!("no page: {page}"));
    entries
        .iter()
        .map(|entry| entry["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn entries_are_listed_newest_first_page_by_page_and_by_callback_url() {
    let app = TestApp::start().await;
    assert_eq!(
        app.get("/v1/quarantine").await,
        (200, json!({"data": [], "next": null}))
    );
    let database = app.database().await;
    let mut all = Vec::new();
    for n in 0..13 {
        let subject = if n % 3 == 0 { "~web" } else { "~shop" };
        all.push((put(&database, subject, &format!("bad {n}")).await, subject));
    }
    all.reverse();
    for (filter, wanted) in [
        ("", ""),
        ("&subject=~web", "~web"),
        ("&subject=%7Eshop", "~shop"),
        ("&subject=~none", "none"),
    ] {
        let wanted = all
            .iter()
            .filter(|(_, subject)| wanted.is_empty() || *subject == wanted);
        let wanted: Vec<i64> = wanted.map(|(id, _)| *id).collect();
        let (mut found, mut cursor) = (Vec::new(), String::new());
        for _ in 0..10 {
            let (status, page) = app
                .get(&format!("/v1/quarantine?limit=4{filter}{cursor}"))
                .await;
            assert_eq!(status, 200, "{page}");
            found.extend(ids(&page));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, wanted, "{filter}");
    }
    let (_, page) = app.get("/v1/quarantine?limit=1000000").await;
    assert_eq!((ids(&page).len(), page["next"].is_null()), (13, true));
    let listed = page["data"][0].as_object().unwrap();
    assert!(
        !listed.contains_key("body") && !listed.contains_key("headers"),
        "{listed:?}"
    );
}

fn percent(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

#[tokio::test]
async fn an_entry_is_shown_whole_and_without_a_secret() {
    let app = TestApp::start().await;
    let token = app.standing_token("shop");
    let body = b"{\"id\": \"t\", \"status\": \"\xff\"}".to_vec();
    let url = format!("https://localhost:{}/callbacks/{token}", app.public.port());
    let request = app.http.post(url).body(body.clone());
    let headers = [
        ("content-type", "application/x-odd"),
        ("authorization", "Bearer canary-secret"),
        ("cookie", "canary-secret"),
        ("x-original-uri", &format!("/callbacks/{token}")),
        ("x-amz-security-token", "canary-secret"),
        ("x-forwarded-access-token", "canary-secret"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2, b: c"),
        ("x-request-id", &format!("/callbacks/{token}")),
        ("user-agent", &format!("proxy {}", percent(EVOLINK_KEY))),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    assert_eq!(request.send().await.unwrap().status().as_u16(), 400);
    let (_, page) = app.get("/v1/quarantine").await;
    let id = ids(&page)[0];
    let (status, entry) = app.get(&format!("/v1/quarantine/{id}")).await;
    assert_eq!(status, 200, "{entry}");
    for (name, value) in [
        ("kind", json!("unreadable")),
        ("source", json!("callback")),
        ("subject", json!("~shop")),
        ("task_id", json!(null)),
        ("repeats", json!(0)),
        ("replayed_at", json!(null)),
        ("replay_result", json!(null)),
        ("body", json!(null)),
        ("body_base64", json!(BASE64_STANDARD.encode(&body))),
    ] {
        assert_eq!(entry[name], value, "{name}: {entry}");
    }
    assert!(
        entry["reason"].as_str().unwrap().contains("UTF-8"),
        "{entry}"
    );
    let text = entry.to_string();
    assert!(!text.contains("canary") && !text.contains(&token), "{text}");
    let headers = entry["headers"].as_array().unwrap();
    for wanted in [
        ("content-type", "application/x-odd"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2, b: c"),
        ("content-length", "26"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ] {
        let wanted = json!({"name": wanted.0, "value": wanted.1});
        assert!(headers.contains(&wanted), "{wanted}: {headers:?}");
    }
    assert_eq!(headers.len(), 5, "{headers:?}");
    let database = app.database().await;
    let id = put(&database, "~shop", "not a task\u{0}").await;
    let (_, entry) = app.get(&format!("/v1/quarantine/{id}")).await;
    assert_eq!(entry["body"], "not a task\u{0}");
    let digest = <sha2::Sha256 as sha2::Digest>::digest("not a task\u{0}");
    assert_eq!(entry["body_sha256"], hex(&digest));
}

#[tokio::test]
async fn b13_a_malformed_id_and_an_unknown_id_are_different_errors() {
    let app = TestApp::start().await;
    let error = |body: &Value| {
        (
            body["error"]["code"].clone(),
            body["error"]["param"].clone(),
        )
    };
    for (param, value) in [
        ("limit", "0"),
        ("limit", "x"),
        ("cursor", ""),
        ("cursor", "x"),
        ("cursor", "0"),
        ("cursor", "01"),
        ("cursor", "-1"),
        ("cursor", "%2B1"),
        ("cursor", "99999999999999999999"),
        ("subject", ""),
        ("subject", "~"),
        ("subject", "~a%00"),
        ("subject", "shop"),
        ("subject", "0198f0a0-0000-4000-8000-000000000000"),
        ("status", "x"),
    ] {
        let (status, body) = app.get(&format!("/v1/quarantine?{param}={value}")).await;
        let wanted = (json!("invalid_request"), json!(param));
        assert_eq!(
            (status, error(&body)),
            (400, wanted),
            "{param}={value}: {body}"
        );
    }
    for id in ["x", "0", "-1", "01", "1.0", "%00", "99999999999999999999"] {
        for (method, tail) in [(Method::GET, ""), (Method::POST, "/replay")] {
            let path = format!("/v1/quarantine/{id}{tail}");
            let answer = app.request(method, &path).send().await.unwrap();
            let status = answer.status().as_u16();
            let wanted = (json!("invalid_request"), json!("id"));
            assert_eq!(
                (status, error(&answer.json().await.unwrap())),
                (400, wanted),
                "{path}"
            );
        }
    }
    let absent = (json!("quarantine_not_found"), json!(null));
    let (status, body) = app.get("/v1/quarantine/7").await;
    assert_eq!((status, error(&body)), (404, absent.clone()));
    let (status, body) = replay(&app, 7).await;
    assert_eq!((status, error(&body)), (404, absent));
    let answer = app
        .request(Method::GET, "/v1/quarantine/7/replay")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 405);
    let database = app.database().await;
    let id = put(&database, "~shop", &completed("task-1")).await;
    assert_eq!(
        replay(&app, id).await.0,
        200,
        "a standing URL takes in what it says"
    );
    assert_eq!(
        app.get("/v1/tasks/task-1").await.1["receiver"]["client"],
        "shop"
    );
}
