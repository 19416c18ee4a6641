//! Clients that do not read, or that do not stop sending.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::shortened::{SOON, limits};
use crate::support::net::echo::{EchoServer, Transport};

/// Time in which a reset would reach the client.
const FOR_A_RESET: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let server = EchoServer::start_with(
        Transport::Plain,
        limits(|limits| limits.write_timeout = Duration::from_millis(300)),
        Duration::from_secs(5),
        Duration::from_mins(1),
    )
    .await;
    let mut client = server.connect().await;
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.wait_until_reached(1).await;
    server.shutdown.cancel();
    // The answer does not fit into the buffers. Without a limit on the stuck write, the drain would
    // wait for it.
    timeout(SOON, server.served)
        .await
        .expect("the stuck write ended")
        .expect("no panic")
        .expect("no error");
}

#[tokio::test]
async fn an_answer_to_a_client_that_still_sends_is_not_lost_to_a_reset() {
    for transport in [Transport::Plain, Transport::Tls] {
        let patient = limits(|limits| limits.linger_timeout = SOON);
        let server = EchoServer::start(transport, patient).await;
        let mut client = server.connect().await;
        client
            .send("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n")
            .await;
        for _ in 0..4 {
            // The answer has been sent by now. A reset would make the next `send` panic.
            sleep(FOR_A_RESET).await;
            client.send(vec![b'x'; 100_000]).await;
        }
        assert_eq!(client.read_response().await.status, 404, "{transport:?}");
    }
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_closed_on_all_the_same() {
    let linger_timeout = Duration::from_millis(300);
    let server = EchoServer::start(
        Transport::Plain,
        limits(|limits| limits.linger_timeout = linger_timeout),
    )
    .await;
    let mut client = server.connect().await;
    client
        .send("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n")
        .await;
    let mut is_open = true;
    for _ in 0..150 {
        is_open = client.send_if_open("x").await;
        if !is_open {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(!is_open, "the server still reads after 15 s");
}
