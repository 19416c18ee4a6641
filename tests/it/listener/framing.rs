//! Framing (rows H1, H2, …), as far as the serve loop decides it. Each row is one connection, over
//! plain TCP and over TLS. If a row closes its connection, what follows it is never answered.

use std::time::Duration;

use evolink_receiver::http::serve::limits::Limits;

use crate::support::net::echo::{BODY_BYTES_MAX, EchoServer, HELLO, Transport};

/// Sent after every row. It gets an answer if the connection stays open, and none if it must close.
const NEXT: &str = HELLO;

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    then: Then,
    /// The statuses in order, without the one of `NEXT`.
    statuses: &'static [u16],
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Open,
    Closed,
}
use Then::{Closed, Open};

/// Time in which the server would notice a half-close, if it took it for a disconnect.
const FOR_A_DISCONNECT: Duration = Duration::from_millis(200);

const fn row(name: &'static str, statuses: &'static [u16], then: Then) -> Row {
    Row {
        name,
        then,
        statuses,
    }
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}").into_bytes()
}

fn with_header_value(value: &[u8]) -> Vec<u8> {
    [
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX-A: v".as_slice(),
        value,
        b"v\r\n\r\n",
    ]
    .concat()
}

#[rustfmt::skip]
fn rows() -> Vec<(Row, Vec<u8>)> {
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    let one_byte_chunks = "1\r\na\r\n".repeat(3000) + "0\r\n\r\n";
    let lines = |count| format!("GET /hello HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(count)).into_bytes();
    vec![
        (row("H1 Content-Length", &[200], Open), post("Content-Length: 5\r\n", "hello")),
        (row("H1 chunked", &[200], Closed), post(CHUNKED, "5\r\nhello\r\n0\r\n\r\n")),
        (row("H2 Content-Length, then chunked", &[200], Closed), post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        (row("H2 chunked, then Content-Length", &[200], Closed), post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        (row("H3 two Content-Lengths", &[400], Closed), post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
        (row("H3 a list of Content-Lengths", &[400], Closed), post("Content-Length: 5, 5\r\n", "hello")),
        (row("H4 +3", &[400], Closed), post("Content-Length: +3\r\n", "abc")),
        (row("H4 -1", &[400], Closed), post("Content-Length: -1\r\n", "abc")),
        (row("H4 0x3", &[400], Closed), post("Content-Length: 0x3\r\n", "abc")),
        (row("H4 3 3", &[400], Closed), post("Content-Length: 3 3\r\n", "abc")),
        (row("H4 2^64", &[400], Closed), post("Content-Length: 18446744073709551616\r\n", "abc")),
        (row("H5 declared too long", &[413], Closed), post("Content-Length: 3000000\r\n", "")),
        (row("H7 a second request behind the body", &[200, 200], Open), post("Content-Length: 5\r\n", "helloPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")),
        (row("H7 garbage behind the body", &[200, 400], Closed), post("Content-Length: 3\r\n", "hello \u{1}")),
        (row("H8 no length", &[200], Open), post("", "")),
        (row("H9 gzip, chunked", &[400], Closed), post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        (row("H9 chunked, gzip", &[400], Closed), post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")),
        (row("H9 chunked twice", &[400], Closed), post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        (row("H9 identity", &[400], Closed), post("Transfer-Encoding: identity\r\n", "")),
        (row("H9 no coding at all", &[400], Closed), post("Transfer-Encoding:\r\n", "")),
        (row("H9 Chunked", &[200], Closed), post("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n")),
        (row("H10 a chunk extension", &[200], Closed), post(CHUNKED, "5;a=b\r\nhello\r\n0\r\n\r\n")),
        (row("H11 a bare LF in the chunk line", &[400], Closed), post(CHUNKED, "5\nhello\r\n0\r\n\r\n")),
        (row("H11 a chunk size that is none", &[400], Closed), post(CHUNKED, "-5\r\nhello\r\n0\r\n\r\n")),
        (row("H11 a chunk longer than its size", &[400], Closed), post(CHUNKED, "4\r\nhello\r\n0\r\n\r\n")),
        (row("H12 one-byte chunks", &[200], Closed), post(CHUNKED, &one_byte_chunks)),
        (row("H13 chunked with HTTP/1.0", &[400], Closed), b"POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into()),
        (row("H14 no Host", &[400], Closed), b"GET /hello HTTP/1.1\r\n\r\n".into()),
        (row("H14 two Hosts", &[400], Closed), b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into()),
        (row("H14 the same Host twice, HTTP/1.0", &[400], Closed), b"GET /hello HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n".into()),
        (row("H15 any Host", &[200], Open), b"GET /hello HTTP/1.1\r\nHost: 192.0.2.1:99\r\n\r\n".into()),
        (row("H16 bare LF in the head", &[200], Open), b"GET /hello HTTP/1.1\nHost: a\n\n".into()),
        (row("H17 NUL", &[400], Closed), with_header_value(b"\0")),
        (row("H17 CR", &[400], Closed), with_header_value(b"\r")),
        (row("H17 0x01", &[400], Closed), with_header_value(b"\x01")),
        (row("H17 a space before the colon", &[400], Closed), post("Content-Length : 5\r\n", "hello")),
        (row("H17 a folded header", &[400], Closed), post("X-A: b\r\n Content-Length: 5\r\n", "hello")),
        (row("H18 0xFF", &[200], Open), with_header_value(b"\xff")),
        (row("H19 one header of 64 kB", &[431], Closed), with_header_value(&[b'a'; 64 * 1024])),
        (row("H19 a head of 500 kB", &[431], Closed), lines(62_500)),
        (row("H19 99 lines", &[200], Open), lines(99)),
        (row("H19 101 lines", &[431], Closed), lines(100)),
        (row("H21 absolute form", &[200], Open), b"GET http://other.example/hello HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (row("H22 HTTP/1.0 without Host", &[200], Closed), b"GET /hello HTTP/1.0\r\n\r\n".into()),
        (row("H24 pipelined", &[200, 200], Open), [post("Content-Length: 2\r\n", "ab"), post("Content-Length: 2\r\n", "cd")].concat()),
        (row("H26 Upgrade: h2c", &[200], Open), post("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 2\r\n", "ab")),
        (row("H26 Upgrade: websocket", &[200], Open), post("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", "ab")),
        (row("H32 Connection: close", &[200], Closed), post("Connection: close\r\nContent-Length: 2\r\n", "ab")),
        (row("H32 Connection: keep-alive, close", &[200], Closed), post("Connection: keep-alive, close\r\nContent-Length: 2\r\n", "ab")),
        (row("H32 TE in Connection", &[200], Open), post("Connection: TE\r\nTE: trailers\r\nContent-Length: 2\r\n", "ab")),
        (row("H36 blank lines first", &[200], Open), [b"\r\n\r\n\r\n\r\n\r\n".to_vec(), post("Content-Length: 2\r\n", "ab")].concat()),
        (row("an unread body behind a 404", &[404], Closed), b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".into()),
        (row("an unread body behind a 405", &[405], Closed), b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".into()),
        (row("a 404 without a body", &[404], Open), b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (row("HTTP/1.2", &[400], Closed), b"GET /hello HTTP/1.2\r\nHost: a\r\n\r\n".into()),
        (row("HTTP/0.9", &[400], Closed), b"GET /hello\r\n\r\n".into()),
        (row("CONNECT", &[404], Open), b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into()),
    ]
}

async fn check_rows(transport: Transport) {
    let server = EchoServer::start(transport, Limits::public()).await;
    for (row, mut bytes) in rows() {
        bytes.extend_from_slice(NEXT.as_bytes());
        let mut client = server.connect().await;
        client.send_if_open(&bytes).await;
        let mut statuses = Vec::new();
        let mut last = None;
        let expected = row.statuses.len() + usize::from(row.then == Open);
        while statuses.len() < expected
            && let Some(response) = client.try_read_response().await
        {
            statuses.push(response.status);
            last = Some(response);
        }
        let mut wanted = row.statuses.to_vec();
        if row.then == Open {
            wanted.push(200);
        }
        assert_eq!(statuses, wanted, "{transport:?}: {}", row.name);
        if row.then == Closed {
            let announced = last.expect("an answer").announces_close();
            assert!(
                announced || row.name.contains("HTTP/1.0"),
                "{transport:?}: {} is announced",
                row.name
            );
            assert!(
                client.is_closed_within(Duration::from_secs(20)).await,
                "{transport:?}: {}",
                row.name
            );
        }
    }
}

#[tokio::test]
async fn every_row_of_table_h_gets_its_answer_over_plain_tcp() {
    check_rows(Transport::Plain).await;
}

#[tokio::test]
async fn every_row_of_table_h_gets_its_answer_over_tls() {
    check_rows(Transport::Tls).await;
}

#[tokio::test]
async fn chunks_are_read_as_one_body_and_content_length_beside_them_is_not_believed() {
    let server = EchoServer::start(Transport::Plain, Limits::public()).await;
    for headers in [
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut client = server.connect().await;
        client
            .send(post(headers, "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"))
            .await;
        assert_eq!(client.read_response().await.text(), "abcde");
        assert!(client.is_closed_within(Duration::from_secs(20)).await);
    }
}

#[tokio::test]
async fn what_follows_a_refused_request_never_reaches_a_handler() {
    let server = EchoServer::start(Transport::Plain, Limits::public()).await;
    let smuggled = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    for headers in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Host: b\r\nContent-Length: 3\r\n",
        "Content-Length: 0x3\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(post(headers, smuggled)).await;
        let statuses: Vec<u16> = client
            .read_responses_until_closed()
            .await
            .iter()
            .map(|r| r.status)
            .collect();
        assert_eq!(statuses, [400], "{headers:?}");
    }
    assert_eq!(server.reached(), 0);
}

#[tokio::test]
async fn a_body_at_the_limit_is_read_and_one_byte_more_is_refused_however_it_comes() {
    let server = EchoServer::start(Transport::Tls, Limits::public()).await;
    for (length, status) in [(BODY_BYTES_MAX, 200), (BODY_BYTES_MAX + 1, 413)] {
        let body = "a".repeat(length);
        let declared = post(&format!("Content-Length: {length}\r\n"), &body);
        let chunked = post(
            "Transfer-Encoding: chunked\r\n",
            &format!("{length:x}\r\n{body}\r\n0\r\n\r\n"),
        );
        for request in [declared, chunked] {
            let mut client = server.connect().await;
            client.send_if_open(&request).await;
            assert_eq!(
                client.read_response().await.status,
                status,
                "{length} bytes"
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_only_when_its_body_is_wanted() {
    let server = EchoServer::start(Transport::Tls, Limits::public()).await;
    let mut client = server.connect().await;
    client
        .send(post("Expect: 100-continue\r\nContent-Length: 5\r\n", ""))
        .await;
    assert_eq!(client.read_response().await.status, 100);
    client.send("hello").await;
    let response = client.read_response().await;
    assert_eq!((response.status, response.text()), (200, "hello"));

    client
        .send(post(
            "Expect: 100-continue\r\nContent-Length: 9999999\r\n",
            "",
        ))
        .await;
    assert_eq!(client.read_response().await.status, 413);
    assert!(client.is_closed_within(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_its_answer() {
    for transport in [Transport::Plain, Transport::Tls] {
        let server = EchoServer::start(transport, Limits::public()).await;
        let mut client = server.connect().await;
        client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.finish_sending().await;
        server.wait_until_reached(1).await;
        tokio::time::sleep(FOR_A_DISCONNECT).await;
        server.handlers.gate.add_permits(1);
        assert_eq!(
            client.read_response().await.text(),
            "at last",
            "{transport:?}"
        );
        assert!(client.is_closed_within(Duration::from_secs(20)).await);
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_refused() {
    for transport in [Transport::Plain, Transport::Tls] {
        let server = EchoServer::start(transport, Limits::public()).await;
        for request in [
            post("Content-Length: 9\r\n", "hello"),
            post("Transfer-Encoding: chunked\r\n", "9\r\nhello"),
        ] {
            let mut client = server.connect().await;
            client.send(&request).await;
            client.finish_sending().await;
            assert_eq!(client.read_response().await.status, 400, "{transport:?}");
            assert!(client.is_closed_within(Duration::from_secs(20)).await);
        }
    }
}
