//! How the serve loop ends: requests in flight are answered, nothing more delays the end, and its
//! deadline holds.

use std::time::Duration;

use evolink_receiver::http::serve::limits::Limits;
use tokio::time::{Instant, sleep, timeout};

use crate::support::net::echo::{EchoServer, GATED, HALF_BODY, HELLO, Transport};
use crate::support::net::raw::RawClient;

/// Longer than any shortened limit, for slow machines.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_drain_answers_what_is_in_flight_and_closes_the_rest() {
    for transport in [Transport::Plain, Transport::Tls] {
        let drain = Duration::from_mins(1);
        let server =
            EchoServer::start_with(transport, Limits::public(), Duration::from_secs(5), drain)
                .await;
        let mut in_flight = server.connect().await;
        in_flight.send(GATED).await;
        let mut mid_body = server.connect().await;
        mid_body.send(HALF_BODY).await;
        server.wait_until_reached(2).await;
        let mut used = server.connect().await;
        used.send(HELLO).await;
        assert_eq!(used.read_response().await.status, 200);
        let mut fresh = server.connect().await;
        // Its own deadline would close it after 5 s, but it must not delay the drain for that long.
        let mut half_a_head = server.connect().await;
        half_a_head.send("GET /hello HTT").await;
        let mut half_a_handshake = RawClient::connect_plain(server.address).await;
        half_a_handshake.send(b"\x16\x03\x01".as_slice()).await;
        sleep(Duration::from_millis(50)).await;

        let start = Instant::now();
        server.shutdown.cancel();
        for idle in [&mut used, &mut fresh] {
            assert!(idle.is_closed_within(SOON).await, "{transport:?}");
        }
        for slow in [&mut half_a_head, &mut half_a_handshake] {
            slow.time_until_closed().await;
        }
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{transport:?}: took {:?}",
            start.elapsed()
        );
        mid_body.send("body").await;
        assert_eq!(mid_body.read_response().await.text(), "hellobody");
        assert!(
            !server.served.is_finished(),
            "one request is still in flight"
        );
        server.handlers.gate.add_permits(1);
        let answer = in_flight.read_response().await;
        assert_eq!((answer.text(), answer.announces_close()), ("at last", true));
        timeout(SOON, server.served)
            .await
            .expect("drained")
            .expect("no panic")
            .expect("no error");
        assert!(
            tokio::net::TcpStream::connect(server.address)
                .await
                .is_err(),
            "nobody listens"
        );
    }
}

#[tokio::test]
async fn the_drain_aborts_what_is_not_done_at_its_deadline() {
    let drain = Duration::from_millis(300);
    let server = EchoServer::start_with(
        Transport::Tls,
        Limits::internal(),
        Duration::from_mins(1),
        drain,
    )
    .await;
    let mut client = server.connect().await;
    client.send(GATED).await;
    server.wait_until_reached(1).await;
    let start = Instant::now();
    server.shutdown.cancel();
    timeout(SOON, server.served)
        .await
        .expect("ended")
        .expect("no panic")
        .expect("no error");
    assert!(
        start.elapsed() >= drain,
        "aborted after {:?}",
        start.elapsed()
    );
    assert!(client.is_closed_within(SOON).await);
}
