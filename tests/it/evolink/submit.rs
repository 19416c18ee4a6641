//! The meaning of each answer to a submit (cases E1, E2, …), and that each submit is one POST.

use std::time::Duration;

use evolink_receiver::domain::observation::Status;
use evolink_receiver::evolink::SubmitReply;
use futures_util::future::join_all;
use tokio::net::TcpListener;

use super::{PENDING, client, client_with_timeout, http, submit};
use crate::support::net::raw_server::{End, RawServer};

/// Submits to a server that sends `bytes`, and asserts that the server saw one POST.
async fn reply_to(bytes: Vec<u8>) -> SubmitReply {
    let server = RawServer::start(bytes, End::Close).await;
    let reply = submit(&client(&server.url)).await;
    assert_eq!(server.requests().len(), 1, "{reply:?}");
    assert!(server.requests()[0].starts_with("POST "), "{reply:?}");
    reply
}

async fn assert_unknown(bytes: Vec<u8>, expected_status: Option<u16>, why: &str) {
    match reply_to(bytes).await {
        SubmitReply::Unknown { status, .. } => assert_eq!(status, expected_status, "{why}"),
        other => panic!("{why}: {other:?}"),
    }
}

#[tokio::test]
async fn e1_the_documented_answer_is_accepted() {
    let SubmitReply::Accepted(seen) = reply_to(http(200, &[], PENDING)).await else {
        panic!("not accepted");
    };
    assert_eq!(seen.task_id.as_str(), "task-unified-1757165031-uyujaw3d");
    assert_eq!(seen.status, Status::Pending);
    assert_eq!(seen.estimated_time, Some(Duration::from_secs(10)));
    assert_eq!(seen.raw, PENDING.as_bytes());
}

#[tokio::test]
async fn e3_e9_any_status_of_a_named_task_is_accepted() {
    let cases = [
        (
            200,
            r#"{"id":"t","status":"completed","results":["https://h/a"]}"#,
            Status::Completed,
        ),
        (
            200,
            r#"{"id":"t","status":"weird","x":{"y":1}}"#,
            Status::Unknown("weird".into()),
        ),
        (
            200,
            r#"{"data":{"task_id":"t","status":"queued"}}"#,
            Status::Pending,
        ),
        (201, r#"{"id":"t","status":"pending"}"#, Status::Pending),
        (
            202,
            r#"{"id":"t","status":"failed","error":{"code":500}}"#,
            Status::Failed,
        ),
    ];
    for (status, body, expected) in cases {
        match reply_to(http(status, &[], body)).await {
            SubmitReply::Accepted(seen) => assert_eq!(seen.status, expected, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn e2_success_without_a_usable_task_is_unknown() {
    let long = format!(r#"{{"id":"{}","status":"pending"}}"#, "a".repeat(1024));
    let bodies = [
        r#"{"status":"pending"}"#,
        r#"{"id":7,"status":"pending"}"#,
        r#"{"id":"","status":"pending"}"#,
        r#"{"id":"a b","status":"pending"}"#,
        r#"{"id":null,"status":"pending"}"#,
        r#"{"id":"a","id":"b","status":"pending"}"#,
        r#"{"id":"t"}"#,
        r#"{"error":{"code":"internal_error","message":"m","type":"api_error"}}"#,
        r#"["t","pending"]"#,
        "null",
        "",
        "<html>login</html>",
        &long,
    ];
    for body in bodies {
        assert_unknown(http(200, &[], body), Some(200), body).await;
    }
    assert_unknown(b"HTTP/1.1 204 No\r\n\r\n".to_vec(), Some(204), "204").await;
    let not_utf8 =
        b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n{\"id\":\"t\",\"status\":\"pend\xffing\"}";
    assert_unknown(not_utf8.to_vec(), Some(200), "not UTF-8").await;
}

#[tokio::test]
async fn e4_a_refusal_is_handed_on_as_it_is() {
    let codes = ["\"invalid_request\"", "400", "null"];
    for status in [400, 401, 402, 403, 404, 409, 413, 422, 451] {
        for code in codes {
            let body = format!(r#"{{"error": {{"code":{code},"message":"m","type":"t"}} }}"#);
            let headers = [
                "content-type: application/json; charset=utf-8",
                "x-request-id: r-1",
            ];
            let SubmitReply::Refused(answer) = reply_to(http(status, &headers, &body)).await else {
                panic!("{status} {code}: not refused");
            };
            assert_eq!((answer.status, &answer.body[..]), (status, body.as_bytes()));
            assert_eq!(
                answer.content_type.as_deref(),
                Some("application/json; charset=utf-8")
            );
            assert_eq!(answer.request_id.as_deref(), Some("r-1"));
        }
    }
    let SubmitReply::Refused(answer) = reply_to(http(403, &[], "<html>no</html>")).await else {
        panic!("a refusal need not be JSON");
    };
    assert_eq!(&answer.body[..], b"<html>no</html>");
}

#[tokio::test]
async fn e5_too_many_requests_is_a_refusal_with_and_without_retry_after() {
    let waits = [
        (vec!["retry-after: 7"], Some("7"), Some(7)),
        (
            vec!["retry-after: 1000000000"],
            Some("1000000000"),
            Some(3600),
        ),
        (vec!["retry-after: soon"], Some("soon"), None),
        (vec![], None, None),
    ];
    for (headers, text, seconds) in waits {
        let SubmitReply::Refused(answer) = reply_to(http(429, &headers, "{}")).await else {
            panic!("not refused");
        };
        assert_eq!(answer.retry_after.as_deref(), text);
        assert_eq!(answer.retry_after().map(|wait| wait.as_secs()), seconds);
    }
}

#[tokio::test]
async fn e6_a_status_that_says_nothing_about_acceptance_is_unknown() {
    for status in [
        300, 301, 302, 303, 307, 308, 408, 500, 501, 502, 503, 504, 520, 599, 600, 999,
    ] {
        let location = ["location: http://127.0.0.1:9/", "retry-after: 1"];
        assert_unknown(http(status, &location, PENDING), Some(status), "status").await;
    }
    for status in [400, 402, 409, 429] {
        let body = r#"{"error":{"code":"paid_outcome_unknown","message":"m"}}"#;
        assert_unknown(
            http(status, &[], body),
            Some(status),
            "paid outcome unknown",
        )
        .await;
    }
}

#[tokio::test]
async fn e7_where_no_connection_is_made_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for url in [
        closed.as_str(),
        "http://no-such-host.invalid",
        "https://no-such-host.invalid",
    ] {
        match submit(&client(url)).await {
            SubmitReply::Unreachable { reason } => {
                assert!(!reason.is_empty() && !reason.contains("/v1/"), "{reason}");
            }
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn e6_a_stall_is_unknown_once_the_time_is_up() {
    let stalls: [&[u8]; 3] = [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 400 No\r\ncontent-length: 9\r\n\r\n{\"er",
    ];
    let replies = stalls.map(|bytes| async {
        let server = RawServer::start(bytes.to_vec(), End::Open).await;
        let client = client_with_timeout(&server.url, Duration::from_secs(6));
        (submit(&client).await, server.requests().len())
    });
    for (reply, posts) in join_all(replies).await {
        match reply {
            SubmitReply::Unknown { reason, .. } => {
                assert!(reason.contains("timed out"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(posts, 1);
    }
}
