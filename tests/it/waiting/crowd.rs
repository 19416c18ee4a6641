//! Thousands of clients want to wait where hundreds may. Callbacks and submits continue, and all
//! permits and descriptors are returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::SILENT;
use crate::support::app::waiting::body;
use crate::support::machine::needs::{Root, are_met};
use crate::support::process::{Place, Receiver};

const WAITERS: usize = 5000;

/// Enough for some hundred connections, and far too few for all clients that want to wait.
const DESCRIPTORS: &str = "--nofile=1024:1024";

/// Longer than `Retry-After` asks for: this many clients should load the receiver, not the machine.
const PAUSE: Duration = Duration::from_secs(4);

const PATIENCE: Duration = Duration::from_mins(1);

/// Results of the requests of all clients that want to wait.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    refused: AtomicUsize,
    /// Not accepted, or cut off.
    closed: AtomicUsize,
}

struct Crowd {
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    waiters: JoinSet<()>,
}

impl Crowd {
    /// Starts clients that each repeat their request after a pause, whatever the answer is.
    fn start(receiver: &Receiver, id: &str) -> Self {
        let request = format!(
            "GET /v1/tasks/{id}?wait=50 HTTP/1.1\r\nhost: {}\r\n\r\n",
            receiver.internal
        );
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let mut waiters = JoinSet::new();
        for _ in 0..WAITERS {
            let (request, tally, stop) = (request.clone(), Arc::clone(&tally), Arc::clone(&stop));
            let address = receiver.internal;
            waiters.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let status = ask(address, request.as_bytes()).await;
                    let count = match status {
                        Some(200) => &tally.answered,
                        Some(503) => &tally.refused,
                        None => &tally.closed,
                        Some(other) => panic!("answered {other}"),
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
                }
            });
        }
        Self {
            tally,
            stop,
            waiters,
        }
    }
}

/// The status of the answer to `request` on a new connection; `None` if there is no answer.
async fn ask(address: std::net::SocketAddr, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request).await.ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    std::str::from_utf8(&head)
        .ok()?
        .rsplit(' ')
        .next()?
        .parse()
        .ok()
}

async fn submit(receiver: &Receiver) -> Option<Value> {
    let url = format!("http://{}/v1/images/generations", receiver.internal);
    let body = json!({"model": "z-image-turbo", "prompt": SILENT});
    let answer = receiver.http.post(url).json(&body).send().await.ok()?;
    assert_eq!(answer.status(), 200);
    answer.json().await.ok()
}

/// Submits until it is accepted: a client that gets no connection tries again.
async fn submitted(receiver: &Receiver) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(task) = submit(receiver).await {
            return task;
        }
        assert!(Instant::now() < deadline, "no submit is let in");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn callback(receiver: &Receiver, body: String) -> (u16, Duration) {
    let start = Instant::now();
    let request = receiver.http.post(receiver.callback_url()).body(body);
    let answer = timeout(PATIENCE, request.send()).await.unwrap().unwrap();
    (answer.status().as_u16(), start.elapsed())
}

async fn seats_taken(receiver: &Receiver) -> Option<u64> {
    let url = format!("http://{}/metrics", receiver.internal);
    let text = receiver
        .http
        .get(url)
        .send()
        .await
        .ok()?
        .text()
        .await
        .ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(super::SEATS_TAKEN)?.strip_prefix(' '));
    value?.parse().ok()
}

fn descriptors(receiver: &Receiver) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", receiver.pid()))
        .unwrap()
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t20_five_thousand_waiting_requests_delay_no_callback_and_no_submit() {
    if !are_met(Root::NotNeeded, &["prlimit"]) {
        return;
    }
    let mut place = Place::new();
    let certificate = place.make_certificate();
    let evolink = Simulator::start(Options {
        allow_private_callbacks: true,
        callback_ca_pem: Some(certificate.into_bytes()),
        ..Options::default()
    })
    .await
    .unwrap();
    place.configure_evolink(&evolink.base_url());
    place.launch_through(&["prlimit", DESCRIPTORS]);
    let receiver = place.start().await;
    let before = descriptors(&receiver);
    assert_eq!(
        callback(&receiver, body("task-crowded", "processing"))
            .await
            .0,
        200
    );
    let mut crowd = Crowd::start(&receiver, "task-crowded");
    let deadline = Instant::now() + PATIENCE;
    while crowd.tally.refused.load(Ordering::Relaxed) + crowd.tally.closed.load(Ordering::Relaxed)
        < WAITERS
    {
        assert!(Instant::now() < deadline, "the crowd is not there");
        sleep(Duration::from_millis(50)).await;
    }
    let mut took = Vec::new();
    for number in 0..200 {
        let (status, time) = callback(
            &receiver,
            body(&format!("task-beside-{number}"), "completed"),
        )
        .await;
        assert_eq!(status, 200, "callback {number}");
        took.push(time);
    }
    for _ in 0..20 {
        assert_eq!(submitted(&receiver).await["status"], "pending");
    }
    took.sort();
    let [answered, refused, closed] = [
        &crowd.tally.answered,
        &crowd.tally.refused,
        &crowd.tally.closed,
    ]
    .map(|count| count.load(Ordering::Relaxed));
    println!(
        "callbacks beside {WAITERS} who want to wait: p50 {:?}, max {:?}; those: {answered} answered, {refused} refused, {closed} not let in",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    assert!(
        took[took.len() - 1] < Duration::from_secs(8),
        "EvoLink hangs up at 10 s"
    );

    crowd.stop.store(true, Ordering::Relaxed);
    assert_eq!(
        callback(&receiver, body("task-crowded", "completed"))
            .await
            .0,
        200
    );
    // Every client that is waiting now gets its answer.
    while let Ok(Some(ended)) = timeout(PATIENCE, crowd.waiters.join_next()).await {
        ended.unwrap();
    }
    assert!(crowd.waiters.is_empty(), "somebody was not told");
    assert!(crowd.tally.answered.load(Ordering::Relaxed) > 100);
    let deadline = Instant::now() + PATIENCE;
    while seats_taken(&receiver).await != Some(0) || descriptors(&receiver) > before + 20 {
        assert!(
            Instant::now() < deadline,
            "seats or descriptors are not given back: {:?}",
            descriptors(&receiver)
        );
        sleep(Duration::from_millis(50)).await;
    }
}
