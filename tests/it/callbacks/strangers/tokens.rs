//! Tokens (rows K1, K2, …) and the first half of rule B1: a bad token gets a 404 whatever else is
//! wrong, and always the same 404.

use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::ids::SubmissionId;
use url::Url;

use crate::support::app::callback_body::completed;
use crate::support::app::desk::Desk;
use crate::support::app::{START as NOW, TestApp};
use crate::support::net::raw::{RawClient, RawResponse};

/// The answer without its date.
fn timeless(mut response: RawResponse) -> String {
    response.headers.retain(|(name, _)| name != "date");
    format!("{response:?}")
}

async fn answer(app: &TestApp, head: &str, body: &str) -> String {
    let mut client = app.raw_public().await;
    client.send_if_open(format!("{head}\r\n{body}")).await;
    timeless(client.read_response().await)
}

fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n")
}

/// Every way in which a token can be wrong, with the name of its row.
fn bad_tokens(good: &str, other: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = good.split('.').collect();
    let (key, submission, mac) = (parts[0], parts[1], parts[2]);
    let others: Vec<&str> = other.split('.').collect();
    let mut bad = vec![
        (
            "K1".to_owned(),
            format!("{key}.{submission}.{}", "A".repeat(mac.len())),
        ),
        ("K2 one more".to_owned(), format!("{good}A")),
        ("K2 one less".to_owned(), good[..good.len() - 1].to_owned()),
        ("K2 capitals".to_owned(), good.to_uppercase()),
        ("K2 a dot more".to_owned(), format!("{good}.")),
        (
            "K2 percent-encoded".to_owned(),
            good.replacen('.', "%2E", 1),
        ),
        (
            "K2 one letter percent-encoded".to_owned(),
            format!("%{:02x}{}", good.as_bytes()[0], &good[1..]),
        ),
        ("K2 not UTF-8".to_owned(), format!("{good}%ff")),
        ("K3".to_owned(), format!("{key}.{}.{mac}", others[1])),
        (
            "K3 the other way".to_owned(),
            format!("{key}.{submission}.{}", others[2]),
        ),
        (
            "K3 as a label".to_owned(),
            format!("{key}.-{submission}.{mac}"),
        ),
        (
            "K3 as a label of the first version".to_owned(),
            format!("{key}.~{submission}.{mac}"),
        ),
        ("K4".to_owned(), format!("nokey.{submission}.{mac}")),
    ];
    for at in 0..good.len() {
        let mut changed = good.as_bytes().to_vec();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(changed).unwrap();
        bad.push((format!("K2 character {at}"), changed));
    }
    bad
}

#[tokio::test]
async fn k1_to_k5_k7_k9_every_wrong_token_and_path_gets_the_same_404_and_leaves_no_trace() {
    let mut desk = Desk::open().await;
    let (first, second) = (desk.bound().await, desk.bound().await);
    let good = &first.token;
    let old = SubmissionId::new(NOW.before(Duration::from_hours(90 * 24)));
    let mut paths: Vec<(String, String)> = bad_tokens(good, &second.token)
        .into_iter()
        .map(|(name, token)| (name, format!("/callbacks/{token}")))
        .collect();
    for path in [
        format!("/callbacks/{good}/"),
        format!("//callbacks//{good}"),
        format!("//callbacks/{good}"),
        format!("/CALLBACKS/{good}"),
        format!("/x/../callbacks/{good}"),
        format!("/callbacks/./{good}"),
        format!("/callbacks%2F{good}"),
        format!("/callbacks/{good}%2F"),
        format!("/callbacks/{good}/x"),
        format!("/{good}"),
        "/callbacks/".to_owned(),
        "/callbacks".to_owned(),
    ] {
        paths.push((format!("K5 {path}"), path));
    }
    for path in [
        "/",
        "/metrics",
        "/v1/tasks",
        "/.env",
        "/readyz",
        "/.well-known/acme-challenge/x",
    ] {
        paths.push((format!("K7 {path}"), path.to_owned()));
    }
    paths.push((
        "K9".to_owned(),
        format!("/callbacks/{}", desk.app.token(&Subject::Submission(old))),
    ));
    let body = completed(&first.task_id);
    let constant = answer(&desk.app, &head("/", body.len()), &body).await;
    assert!(constant.contains("status: 404"), "{constant}");
    let (before, version) = (desk.rows().await, desk.version().await);
    for (name, path) in &paths {
        let response = answer(&desk.app, &head(path, body.len()), &body).await;
        assert_eq!(response, constant, "{name}: {path}");
    }
    assert_eq!((desk.rows().await, desk.version().await), (before, version));
    assert_eq!(
        desk.app
            .counter("evolink_receiver_callbacks_received_total"),
        0
    );
    desk.assert_well("table K").await;
}

#[tokio::test]
async fn k6_k8_a_query_string_is_no_part_of_a_token_and_a_finished_task_keeps_its_own() {
    let desk = Desk::open().await;
    let submit = desk.bound().await;
    let body = completed(&submit.task_id);
    for (path, result) in [
        (format!("/callbacks/{}?x=1", submit.token), "recorded"),
        (format!("/callbacks/{}?", submit.token), "duplicate"),
        (format!("/callbacks/{}", submit.token), "duplicate"),
    ] {
        let mut client = desk.app.raw_public().await;
        client
            .send(format!("{}\r\n{body}", head(&path, body.len())))
            .await;
        let expected = format!(r#"{{"result":"{result}"}}"#);
        assert_eq!(client.read_response().await.text(), expected, "{path}");
    }
    desk.assert_well("K6").await;
}

#[tokio::test]
async fn b1_a_bad_token_gets_its_404_before_anything_else_is_judged() {
    let desk = Desk::open().await;
    let submit = desk.bound().await;
    let version = desk.version().await;
    let bad = format!("{}x", submit.token);
    for headers in [
        "Content-Length: 3000000\r\n",
        "Content-Length: 10\r\n",
        "Content-Length: 3000000\r\nContent-Encoding: gzip\r\n",
        "Content-Length: 10\r\nExpect: 100-continue\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        // The body never arrives, and the server does not wait for it.
        let mut client = desk.app.raw_public().await;
        let head = format!("POST /callbacks/{bad} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        client.send(head).await;
        let response = client.read_response().await;
        assert_eq!((response.status, response.text()), (404, ""), "{headers}");
        assert!(response.announces_close(), "{headers}");
    }
    for (headers, status) in [
        ("Content-Length: 3000000\r\nContent-Encoding: gzip\r\n", 415),
        ("Content-Length: 3000000\r\n", 413),
    ] {
        let mut client: RawClient = desk.app.raw_public().await;
        let head = format!(
            "POST /callbacks/{} HTTP/1.1\r\nHost: a\r\n{headers}\r\n",
            submit.token
        );
        client.send(head).await;
        assert_eq!(client.read_response().await.status, status, "{headers}");
    }
    assert_eq!(desk.version().await, version);
    desk.assert_well("B1").await;
}

#[tokio::test]
async fn the_route_lies_under_the_path_of_the_base_url_and_nowhere_else() {
    let builder = TestApp::builder().with(|config| {
        config.public.base_url = Url::parse("https://localhost/hooks/evolink").unwrap();
    });
    let app = builder.start().await;
    let token = app.standing_token("shop");
    let body = completed("task-unified-1757165031-uyujaw3d");
    for (path, status) in [
        (format!("/callbacks/{token}"), 404),
        (format!("/hooks/callbacks/{token}"), 404),
        (format!("/hooks/evolink/callbacks/{token}"), 200),
    ] {
        let response = answer(&app, &head(&path, body.len()), &body).await;
        assert!(
            response.contains(&format!("status: {status}")),
            "{path}: {response}"
        );
    }
    app.stop().await.0.unwrap();
}
