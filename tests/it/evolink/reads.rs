//! Polls and credits: the meaning of EvoLink's answers to them.

use std::time::Duration;

use evolink_receiver::domain::ids::TaskId;
use evolink_receiver::domain::observation::Status;
use evolink_receiver::evolink::{NoAnswer, PollReply};

use super::{client, http};
use crate::support::net::raw_server::{End, RawServer};

async fn poll(bytes: Vec<u8>) -> PollReply {
    let server = RawServer::start(bytes, End::Close).await;
    client(&server.url).poll(&TaskId::parse("t").unwrap()).await
}

#[tokio::test]
async fn a_task_is_seen_whatever_its_id() {
    for id in ["t", "another"] {
        let body = format!(r#"{{"id":"{id}","status":"processing","progress":40}}"#);
        let PollReply::Seen(seen) = poll(http(200, &[], &body)).await else {
            panic!("not seen");
        };
        assert_eq!(
            (seen.task_id.as_str(), seen.status),
            (id, Status::Processing)
        );
    }
}

#[tokio::test]
async fn e8_a_task_that_evolink_does_not_know_is_gone() {
    let invalid = r#"{"error":{"code":"invalid_task_id","message":"m","param":"task_id"}}"#;
    let unknown = r#"{"error":{"code":"task_not_found","message":"m","type":"t"}}"#;
    for (status, body) in [(404, unknown), (410, unknown), (400, invalid)] {
        let reply = poll(http(status, &[], body)).await;
        assert!(matches!(reply, PollReply::Gone), "{status}: {reply:?}");
    }
    for (status, body) in [(404, "{}"), (404, "<html>"), (410, ""), (400, "<html>")] {
        let reply = poll(http(status, &[], body)).await;
        assert!(
            matches!(reply, PollReply::Failed { .. }),
            "{status}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn too_many_polls_are_throttled_within_bounds() {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT";
    let cases = [
        (vec![], None),
        (vec!["retry-after: 7"], Some(7)),
        (vec!["retry-after: 0"], Some(1)),
        (vec!["retry-after: 99999999999999999999"], Some(3600)),
        (
            vec![date, "retry-after: Sun, 06 Nov 1994 08:50:07 GMT"],
            Some(30),
        ),
        (
            vec![date, "retry-after: Sun, 06 Nov 1994 08:00:00 GMT"],
            None,
        ),
        (vec!["retry-after: x"], None),
    ];
    for (headers, seconds) in cases {
        match poll(http(429, &headers, "{}")).await {
            PollReply::Throttled { retry_after } => {
                assert_eq!(retry_after, seconds.map(Duration::from_secs), "{headers:?}");
            }
            other => panic!("{headers:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_error_says_nothing_about_the_task() {
    let invalid = r#"{"error":{"code":"invalid_request"}}"#;
    for status in [400, 401, 402, 403, 408, 302, 500, 502, 503, 504] {
        let reply = poll(http(status, &[], invalid)).await;
        assert!(
            matches!(reply, PollReply::Failed { .. }),
            "{status}: {reply:?}"
        );
    }
    for bytes in [
        Vec::new(),
        b"garbage".to_vec(),
        http(200, &["content-encoding: gzip"], "{}"),
    ] {
        let reply = poll(bytes).await;
        assert!(matches!(reply, PollReply::Failed { .. }), "{reply:?}");
    }
}

#[tokio::test]
async fn success_without_a_task_is_unreadable_and_its_body_kept() {
    for given in [
        "",
        "[]",
        "<html>",
        r#"{"id":"t"}"#,
        r#"{"status":"pending"}"#,
    ] {
        match poll(http(200, &[], given)).await {
            PollReply::Unreadable { body, reason } => {
                assert_eq!(&body[..], given.as_bytes());
                assert!(!reason.is_empty());
            }
            other => panic!("{given}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_id_that_a_path_would_swallow_is_not_asked_about() {
    let server = RawServer::start(http(200, &[], "{}"), End::Close).await;
    for id in [".", ".."] {
        let reply = client(&server.url).poll(&TaskId::parse(id).unwrap()).await;
        assert!(matches!(reply, PollReply::Gone), "{reply:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn credits_are_passed_through_whatever_they_are() {
    for (status, body) in [
        (
            200,
            r#"{"success":true,"data":{"token":{"remaining_credits":1.50}}}"#,
        ),
        (401, "{}"),
    ] {
        let server = RawServer::start(
            http(status, &["content-type: application/json"], body),
            End::Close,
        )
        .await;
        let answer = client(&server.url).credits().await.unwrap();
        assert!(server.requests()[0].starts_with("GET /v1/credits HTTP/1.1\r\n"));
        assert_eq!((answer.status, &answer.body[..]), (status, body.as_bytes()));
        assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    }
    let server = RawServer::start(Vec::new(), End::Reset).await;
    let error = client(&server.url).credits().await.unwrap_err();
    assert!(matches!(error, NoAnswer::Unreadable { .. }), "{error:?}");
    let error = client("http://no-such-host.invalid")
        .credits()
        .await
        .unwrap_err();
    assert!(matches!(error, NoAnswer::Unreachable { .. }), "{error:?}");
}
