//! Unusable answers: cut off, reset, too large, compressed, or not HTTP at all. After each of them
//! the outcome of a submit is unknown, and the submit is not sent again.

use evolink_receiver::evolink::SubmitReply;

use super::{KEY, PENDING, client, http, submit};
use crate::support::net::raw_server::{End, RawServer};

async fn assert_unknown(bytes: Vec<u8>, end: End, why: &str) -> String {
    let server = RawServer::start(bytes, end).await;
    let reply = submit(&client(&server.url)).await;
    assert_eq!(server.requests().len(), 1, "{why}: {reply:?}");
    match reply {
        SubmitReply::Unknown { reason, .. } => reason,
        other => panic!("{why}: {other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_unknown() {
    assert_unknown(Vec::new(), End::Close, "closed").await;
    assert_unknown(Vec::new(), End::Reset, "reset").await;
    assert_unknown(
        b"HTTP/1.1 200 OK\r\nconte".to_vec(),
        End::Close,
        "half a head",
    )
    .await;
    assert_unknown(
        b"HTTP/1.1 200 OK\r\nconte".to_vec(),
        End::Reset,
        "half a head, reset",
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_unknown_even_if_it_would_parse() {
    for status in [200, 400] {
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{PENDING}",
            PENDING.len() + 1
        );
        assert_unknown(head.clone().into_bytes(), End::Close, "short").await;
        assert_unknown(head.into_bytes(), End::Reset, "short, reset").await;
        let chunked = format!(
            "HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{PENDING}\r\n",
            PENDING.len()
        );
        assert_unknown(chunked.into_bytes(), End::Close, "no last chunk").await;
    }
}

#[tokio::test]
async fn an_answer_over_one_mebibyte_is_unknown() {
    let padded = |bytes: usize| {
        format!(
            r#"{{"id":"t","status":"pending","x":"{}"}}"#,
            "x".repeat(bytes)
        )
    };
    for status in [200, 400] {
        let reason = assert_unknown(http(status, &[], &padded(2 << 20)), End::Close, "2 MiB").await;
        assert!(reason.contains("1 MiB"), "{reason}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", padded(2 << 20));
    assert_unknown(endless.into_bytes(), End::Close, "2 MiB without a length").await;
    let lying = b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n{}".to_vec();
    assert_unknown(lying, End::Close, "an impossible length").await;

    let server = RawServer::start(http(200, &[], &padded((1 << 20) - 64)), End::Close).await;
    let reply = submit(&client(&server.url)).await;
    assert!(
        matches!(reply, SubmitReply::Accepted(_)),
        "just under 1 MiB: {reply:?}"
    );
}

#[tokio::test]
async fn a_compressed_answer_is_unknown_and_never_decompressed() {
    for encoding in ["gzip", "br", "identity, gzip"] {
        let header = format!("content-encoding: {encoding}");
        for status in [200, 400] {
            let reason =
                assert_unknown(http(status, &[&header], PENDING), End::Close, encoding).await;
            assert!(reason.contains("compressed"), "{reason}");
        }
    }
}

#[tokio::test]
async fn what_is_not_http_is_unknown() {
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let garbage: [&[u8]; 7] = [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"{\"id\":\"t\",\"status\":\"pending\"}",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        many_headers.as_bytes(),
    ];
    for bytes in garbage {
        assert_unknown(
            bytes.to_vec(),
            End::Close,
            &String::from_utf8_lossy(&bytes[..bytes.len().min(20)]),
        )
        .await;
    }
    let switching = b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_vec();
    assert_unknown(switching, End::Close, "101").await;
}

#[tokio::test]
async fn an_echo_of_our_key_is_redacted() {
    let headers = [
        &format!("content-type: text/{KEY}"),
        &format!("x-oneapi-request-id: {KEY}"),
        &format!("retry-after: {KEY}"),
    ];
    let headers: Vec<&str> = headers.iter().map(|header| header.as_str()).collect();
    let body =
        format!(r#"{{"error":{{"code":"unauthorized","message":"no such key: {KEY}, {KEY}"}}}}"#);
    let server = RawServer::start(http(401, &headers, &body), End::Close).await;
    let SubmitReply::Refused(answer) = submit(&client(&server.url)).await else {
        panic!("not refused");
    };
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!(text, body.replace(KEY, "[redacted]"));
    assert_eq!(answer.content_type.as_deref(), Some("text/[redacted]"));
    assert_eq!(answer.retry_after.as_deref(), Some("[redacted]"));
    assert_eq!(answer.request_id.as_deref(), Some("[redacted]"));

    let echo = format!(r#"{{"id":"t","status":"pending","x":"{KEY}"}}"#);
    let server = RawServer::start(http(200, &[], &echo), End::Close).await;
    let SubmitReply::Accepted(seen) = submit(&client(&server.url)).await else {
        panic!("not accepted");
    };
    assert!(!String::from_utf8_lossy(&seen.raw).contains(KEY));

    let mut binary = format!("HTTP/1.1 403 No\r\n\r\n{KEY}").into_bytes();
    binary.extend(b"\xff\xfe");
    let server = RawServer::start(binary, End::Close).await;
    let SubmitReply::Refused(answer) = submit(&client(&server.url)).await else {
        panic!("not refused");
    };
    assert!(answer.body.starts_with(b"[redacted]"));
}
