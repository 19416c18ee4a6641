//! Readers that stop reading: no events are buffered for them, they are disconnected, and other
//! readers are not affected.

use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep, timeout};

use crate::support::campaign::rounds;
use crate::support::events::reader::SseReader;
use crate::support::net::raw::RawClient;
use crate::support::process::{Place, Receiver};
use crate::support::until::PATIENCE;

/// So many that their memory stands out from the normal variation of the process.
const STALLED: usize = 16;

const PER_READER_KIB: u64 = 1024;

/// More than the buffers of a socket hold.
const EVENTS: usize = 200;
const BODY_BYTES: usize = 200_000;

/// A reader with small buffers that requests all events and reads none.
async fn stall(receiver: &Receiver) -> RawClient {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = timeout(PATIENCE, socket.connect(receiver.internal()));
    let mut client = RawClient::over(stream.await.unwrap().unwrap());
    let request =
        "GET /v1/events?after=0 HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    client.send(request).await;
    client
}

async fn read_all(receiver: &Receiver) {
    let mut reader = SseReader::open(receiver.internal(), "after=0", None).await;
    let seen = reader.take(EVENTS).await;
    assert_eq!(seen.last().unwrap().id.seq, i64::try_from(EVENTS).unwrap());
}

async fn fill(receiver: &Receiver) {
    for number in 0..EVENTS {
        let body = format!(
            r#"{{"id":"task-{number}","status":"processing","x":"{}"}}"#,
            "x".repeat(BODY_BYTES)
        );
        let answered = receiver.callback(body).await;
        assert_eq!(answered.map(|(status, _)| status), Some(200));
    }
}

/// The number of open streams, as the receiver counts them.
async fn seats_taken(receiver: &Receiver) -> u64 {
    let url = format!("http://{}/metrics", receiver.internal());
    let text = receiver.http.get(url).send().await.unwrap();
    let text = text.text().await.unwrap();
    let series = "evolink_receiver_seats_taken ";
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.expect(series).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_cease_to_read_cost_little_and_are_cut_off() {
    let place = Place::new();
    let receiver = place.start().await;
    fill(&receiver).await;
    // The memory that active readers need has been allocated by now.
    for _ in 0..3 {
        read_all(&receiver).await;
    }
    let before = receiver.memory_kib("VmRSS");
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(stall(&receiver).await);
    }
    let (began, lasts) = (Instant::now(), Duration::from_secs(rounds(5, 60).into()));
    let mut most = 0;
    while began.elapsed() < lasts {
        most = most.max(receiver.memory_kib("VmRSS"));
        sleep(Duration::from_millis(100)).await;
    }
    // Other readers are not affected.
    read_all(&receiver).await;
    let grown = most.saturating_sub(before);
    println!("{STALLED} stalled readers for {lasts:?}: {before} KiB before, {grown} KiB more");
    let allowed = PER_READER_KIB * u64::try_from(STALLED).unwrap();
    assert!(grown <= allowed, "{grown} KiB more than {before}");
    let began = Instant::now();
    while seats_taken(&receiver).await > 0 {
        assert!(began.elapsed() < PATIENCE, "nobody was cut off");
        sleep(Duration::from_millis(200)).await;
    }
    println!("all were cut off after {:?} more", began.elapsed());
    drop(stalled);
    receiver.stop().await;
}
