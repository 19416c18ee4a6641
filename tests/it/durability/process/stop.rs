//! SIGTERM under load: requests in flight are answered, the exit code is 0, and nothing is lost.
//! Only a second request to stop ends the program at once.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::net::raw::RawClient;
use crate::support::process::load::Load;
use crate::support::process::{Place, Receiver};
use crate::support::store::check;
use crate::support::until::PATIENCE;

/// How long an orchestrator waits before it kills a process.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Callbacks whose bodies are half sent when the signal arrives.
const IN_FLIGHT: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_answers_what_is_in_flight_and_loses_nothing() {
    let place = Place::new();
    let load = Load::new();
    for round in 1..=3 {
        let start = Instant::now();
        let mut receiver = place.start().await;
        let ready_after = start.elapsed();
        let mut in_flight = Vec::new();
        for number in 0..IN_FLIGHT {
            in_flight.push(half_a_callback(&receiver, &place, round, number).await);
        }
        let running = load.start(&receiver);
        running.reached(50).await;
        let start = Instant::now();
        receiver.terminate();
        wait_until_it_says(&receiver, "SIGTERM: stopping", round).await;
        for (client, rest) in &mut in_flight {
            client.send(rest).await;
            assert_eq!(client.read_response().await.status, 200);
        }
        let status = receiver.ended().await;
        let stopped_after = start.elapsed();
        assert_eq!(status.code(), Some(0), "{}", receiver.log_tail());
        assert!(stopped_after < STOP_MAX, "{stopped_after:?}");
        running.stop().await;
        let faults = check::faults(place.store(), &load.acknowledged()).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
        println!("ready after {ready_after:?}, stopped after {stopped_after:?}");
    }
}

#[tokio::test]
async fn one_ctrl_c_that_arrives_twice_cuts_nothing_off() {
    let place = Place::new();
    let mut receiver = place.start().await;
    let (mut client, rest) = half_a_callback(&receiver, &place, 1, 1).await;
    // A frozen program finds both when it goes on, as if a wrapper had passed the second one on.
    receiver.freeze();
    receiver.interrupt();
    receiver.terminate();
    receiver.thaw();
    wait_until_it_says(&receiver, ": stopping", 1).await;
    client.send(rest).await;
    assert_eq!(client.read_response().await.status, 200);
    assert_eq!(
        receiver.ended().await.code(),
        Some(0),
        "{}",
        receiver.log_tail()
    );
}

#[tokio::test]
async fn another_ctrl_c_ends_the_program_at_once() {
    let place = Place::new();
    let mut receiver = place.start().await;
    let _unended = half_a_callback(&receiver, &place, 1, 1).await;
    receiver.interrupt();
    wait_until_it_says(&receiver, "SIGINT: stopping", 1).await;
    let deadline = Instant::now() + PATIENCE;
    while receiver.is_running() {
        assert!(Instant::now() < deadline, "{}", receiver.log_tail());
        sleep(Duration::from_millis(400)).await;
        receiver.interrupt();
    }
    assert_eq!(
        receiver.ended().await.code(),
        Some(130),
        "{}",
        receiver.log_tail()
    );
}

/// Opens a connection and sends a callback except its end. Returns the connection and that end.
async fn half_a_callback(
    receiver: &Receiver,
    place: &Place,
    round: u32,
    number: usize,
) -> (RawClient, &'static str) {
    const REST: &str = r#""status":"processing"}"#;
    let begin = format!(r#"{{"id":"task-in-flight-{round}-{number}","#);
    let head = format!(
        "POST /callbacks/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{begin}",
        receiver.token,
        begin.len() + REST.len()
    );
    let mut client =
        RawClient::connect_tls(place.public(), &receiver.certificate_pem, "localhost").await;
    client.send(head).await;
    (client, REST)
}

/// All rounds write to the same log file.
async fn wait_until_it_says(receiver: &Receiver, words: &str, round: u32) {
    let deadline = Instant::now() + PATIENCE;
    while receiver.log().matches(words).count() < round as usize {
        assert!(Instant::now() < deadline, "{}", receiver.log_tail());
        sleep(Duration::from_millis(2)).await;
    }
}
