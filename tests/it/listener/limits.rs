//! The serve loop's limits on times and numbers, and how it ends. Limits are shortened where a test
//! would otherwise wait for seconds. Upper bounds on times are far above the limits, for slow
//! machines.

use std::time::Duration;

use evolink_receiver::http::serve::limits::Limits;
use tokio::time::{Instant, timeout};

use super::shortened::{SOON, limits};
use crate::support::net::echo::{EchoServer, GATED, HALF_BODY, HELLO, Transport};
use crate::support::net::raw::RawClient;

const BOTH: [Transport; 2] = [Transport::Plain, Transport::Tls];

fn assert_between(taken: Duration, at_least: Duration, context: &str) {
    assert!(
        taken >= at_least,
        "{context}: closed after {taken:?}, before its time"
    );
    assert!(taken < SOON, "{context}: closed after {taken:?} only");
}

/// Sends one byte of `bytes` every 100 ms until the server closes or all are sent, then waits for
/// the close.
async fn trickle(client: &mut RawClient, bytes: &str) -> Duration {
    let start = Instant::now();
    for byte in bytes.bytes() {
        client.send_if_open([byte]).await;
        if timeout(Duration::from_millis(100), client.time_until_closed())
            .await
            .is_ok()
        {
            return start.elapsed();
        }
    }
    client.time_until_closed().await;
    start.elapsed()
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_at_its_deadline() {
    for transport in BOTH {
        let head_timeout = Duration::from_millis(600);
        let server = EchoServer::start(
            transport,
            limits(|limits| limits.head_timeout = head_timeout),
        )
        .await;
        let mut client = server.connect().await;
        let long_head = format!("GET /hello HTTP/1.1\r\nHost: a\r\nX-A: {}", "b".repeat(200));
        let taken = trickle(&mut client, &long_head).await;
        assert!(
            taken < Duration::from_secs(15),
            "each byte must not extend the deadline: {taken:?}"
        );
        assert_eq!(server.reached(), 0);
    }
}

#[tokio::test]
async fn a_body_that_trickles_in_is_answered_408_at_its_deadline() {
    for transport in BOTH {
        let (body_time_max, drain) = (Duration::from_millis(600), Duration::from_secs(5));
        let server =
            EchoServer::start_with(transport, Limits::public(), body_time_max, drain).await;
        let mut client = server.connect().await;
        client
            .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n")
            .await;
        let mut answer = None;
        for _ in 0..180 {
            client.send_if_open("x").await;
            let pause = Duration::from_millis(50);
            answer = timeout(pause, client.try_read_response())
                .await
                .ok()
                .flatten();
            if answer.is_some() {
                break;
            }
        }
        let answer = answer.expect("an answer while bytes still come");
        assert_eq!(answer.status, 408, "{transport:?}");
        assert!(client.is_closed_within(SOON).await);
    }
}

#[tokio::test]
async fn a_body_that_stops_is_answered_408_and_so_is_one_that_never_follows_its_100() {
    let (body_time_max, drain) = (Duration::from_millis(300), Duration::from_secs(5));
    let server =
        EchoServer::start_with(Transport::Tls, Limits::public(), body_time_max, drain).await;
    let mut client = server.connect().await;
    client.send(HALF_BODY).await;
    assert_eq!(client.read_response().await.status, 408);
    assert!(client.is_closed_within(SOON).await);

    let mut client = server.connect().await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        .await;
    assert_eq!(client.read_response().await.status, 100);
    assert_eq!(client.read_response().await.status, 408);
    assert!(client.is_closed_within(SOON).await);
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_and_after_a_request() {
    for transport in BOTH {
        let head_timeout = Duration::from_millis(400);
        let server = EchoServer::start(
            transport,
            limits(|limits| {
                limits.head_timeout = head_timeout;
                limits.idle_timeout = head_timeout;
            }),
        )
        .await;
        let mut fresh = server.connect().await;
        assert!(fresh.is_closed_within(SOON).await);
        let mut used = server.connect().await;
        used.send(HELLO).await;
        assert_eq!(used.read_response().await.status, 200);
        let start = Instant::now();
        assert!(used.is_closed_within(SOON).await);
        assert_between(start.elapsed(), head_timeout / 2, "idle connection");
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_a_head_and_a_head_that_has_begun_does_not() {
    for transport in BOTH {
        let server = EchoServer::start(
            transport,
            limits(|limits| {
                limits.head_timeout = Duration::from_millis(400);
                limits.idle_timeout = Duration::from_mins(10);
            }),
        )
        .await;
        let mut fresh = server.connect().await;
        assert!(fresh.is_closed_within(SOON).await, "without a request");
        let mut client = server.connect().await;
        for _ in 0..2 {
            client.send(HELLO).await;
            assert_eq!(client.read_response().await.status, 200);
            tokio::time::sleep(Duration::from_millis(800)).await;
        }
        client.send(&HELLO[..20]).await;
        assert!(client.is_closed_within(SOON).await, "half a head");
    }
}

#[tokio::test]
async fn an_answer_says_for_how_long_its_connection_stays() {
    let server = EchoServer::start(Transport::Plain, Limits::internal()).await;
    let mut client = server.connect().await;
    for path in ["/hello", "/nowhere"] {
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let answer = client.read_response().await;
        assert_eq!(answer.header("keep-alive"), Some("timeout=74"), "{path}");
    }
    for request in [
        "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
        "GET /hello HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(request).await;
        let answer = client.read_response().await;
        assert_eq!(answer.header("keep-alive"), None, "{request}: {answer:?}");
    }
}

#[tokio::test]
async fn the_defaults_are_those_that_are_promised() {
    let limits = Limits::public();
    assert_eq!(limits.handshake_timeout, Duration::from_secs(10));
    assert_eq!(limits.head_timeout, Duration::from_secs(5));
    assert_eq!(limits.idle_timeout, Duration::from_secs(5));
    assert_eq!(limits.request_timeout, Some(Duration::from_secs(8)));
    assert_eq!(limits.requests_per_connection_max, 100);
    assert_eq!(Limits::internal().request_timeout, None);
    assert_eq!(Limits::internal().head_timeout, Duration::from_secs(15));
    assert_eq!(Limits::internal().idle_timeout, Duration::from_secs(75));
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_off_at_its_deadline() {
    let handshake_timeout = Duration::from_millis(400);
    let server = EchoServer::start(
        Transport::Tls,
        limits(|limits| limits.handshake_timeout = handshake_timeout),
    )
    .await;
    // Nothing; the head of a TLS record; an incomplete record.
    for bytes in [
        b"".as_slice(),
        b"\x16\x03\x01",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut client = RawClient::connect_plain(server.address).await;
        client.send(bytes).await;
        let taken = client.time_until_closed().await;
        assert_between(taken, handshake_timeout / 2, "stalled handshake");
    }
}

#[tokio::test]
async fn the_wrong_protocol_is_closed_at_once() {
    let plain = EchoServer::start(Transport::Plain, Limits::public()).await;
    let mut client = RawClient::connect_plain(plain.address).await;
    client
        .send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello".as_slice())
        .await;
    let statuses: Vec<u16> = client
        .read_responses_until_closed()
        .await
        .iter()
        .map(|r| r.status)
        .collect();
    assert!(statuses.is_empty() || statuses == [400], "{statuses:?}");

    let mut client = RawClient::connect_plain(plain.address).await;
    client
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    let statuses: Vec<u16> = client
        .read_responses_until_closed()
        .await
        .iter()
        .map(|r| r.status)
        .collect();
    assert!(statuses.is_empty() || statuses == [400], "{statuses:?}");

    let tls = EchoServer::start(Transport::Tls, Limits::public()).await;
    let mut client = RawClient::connect_plain(tls.address).await;
    client.send(HELLO).await;
    assert!(
        client.time_until_closed().await < Duration::from_secs(9),
        "before the handshake timeout"
    );
    assert_eq!(plain.reached() + tls.reached(), 0);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_503_with_retry_after() {
    let server = EchoServer::start(
        Transport::Plain,
        limits(|limits| limits.request_timeout = Some(Duration::from_millis(300))),
    )
    .await;
    let mut client = server.connect().await;
    client.send(GATED).await;
    let response = client.read_response().await;
    assert_eq!(
        (response.status, response.header("retry-after")),
        (503, Some("1"))
    );
    client.send(HELLO).await;
    assert_eq!(
        client.read_response().await.status,
        200,
        "the request was read whole, so the connection goes on"
    );

    client.send(HALF_BODY).await;
    assert_eq!(client.read_response().await.status, 503);
    assert!(client.is_closed_within(SOON).await);
}

#[tokio::test]
async fn the_last_request_of_a_connection_is_announced() {
    let server = EchoServer::start(Transport::Tls, Limits::public()).await;
    let mut client = server.connect().await;
    // Pipelined in two halves: the 101st request is sent and never answered.
    for number in 1..=100 {
        client.send(HELLO).await;
        let response = client.read_response().await;
        assert_eq!(
            (response.status, response.announces_close()),
            (200, number == 100),
            "request {number}"
        );
    }
    client.send_if_open(HELLO).await;
    assert!(client.is_closed_within(SOON).await);
    assert_eq!(server.reached(), 100);
}

#[tokio::test]
async fn handlers_learn_the_peer_address() {
    let server = EchoServer::start(Transport::Plain, Limits::public()).await;
    let mut client = server.connect().await;
    client.send(HELLO).await;
    assert_eq!(client.read_response().await.text(), "hello 127.0.0.1");
}
