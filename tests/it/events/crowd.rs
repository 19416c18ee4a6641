//! Many readers that are all far behind catch up while EvoLink calls back. Callbacks do not wait
//! for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::campaign::rounds;
use crate::support::described;
use crate::support::process::{Place, Receiver};

/// Concurrent clients that fill the log.
const LANES: u64 = 16;

/// EvoLink waits 10 s. A callback that took longer than this was delayed by the readers.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// Time for all of them to catch up on a busy machine.
const CATCH_UP: Duration = Duration::from_mins(2);

/// Occurs once in each event of the stream and cannot occur inside one.
const MARK: &[u8] = b"\ndata: ";

fn body(number: u64) -> String {
    format!(r#"{{"id":"task-{number}","status":"processing","progress":10}}"#)
}

async fn fill(receiver: &Arc<Receiver>, events: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let (receiver, next) = (Arc::clone(receiver), Arc::clone(&next));
        lanes.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return;
                }
                let answered = receiver.callback(body(number)).await;
                assert_eq!(answered.map(|(status, _)| status), Some(200));
            }
        });
    }
    lanes.join_all().await;
}

/// Reads from the first event until `events` of them have arrived.
async fn read(http: described::Client, url: String, events: u64) {
    let request = http.get(url).header("accept", "text/event-stream");
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (mut seen, mut carried) = (0, Vec::new());
    while seen < events {
        let chunk = answer.chunk().await.unwrap().expect("it goes on");
        carried.extend_from_slice(&chunk);
        let marks = carried.windows(MARK.len());
        seen += marks.filter(|window| *window == MARK).count() as u64;
        carried.drain(..carried.len().saturating_sub(MARK.len() - 1));
    }
}

/// Sends callbacks until `stop` is set. Returns how long each answer took, the shortest first.
async fn call_back(receiver: Arc<Receiver>, first: u64, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    for number in first.. {
        let began = Instant::now();
        let answered = receiver.callback(body(number)).await;
        assert_eq!(answered.map(|(status, _)| status), Some(200));
        took.push(began.elapsed());
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    took.sort();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_that_are_far_behind_catch_up_and_delay_no_others() {
    let (readers, events) = (rounds(30, 100), u64::from(rounds(800, 2000)));
    let place = Place::new();
    let receiver = Arc::new(place.start().await);
    fill(&receiver, events).await;
    let stop = Arc::new(AtomicBool::new(false));
    let calling = call_back(Arc::clone(&receiver), events, Arc::clone(&stop));
    let calling = tokio::spawn(calling);
    let url = format!("http://{}/v1/events?after=0", receiver.internal());
    let (began, mut reading) = (Instant::now(), JoinSet::new());
    for _ in 0..readers {
        let http = described::client(reqwest::Client::builder().no_proxy().build().unwrap());
        reading.spawn(read(http, url.clone(), events));
    }
    let caught_up = timeout(CATCH_UP, reading.join_all()).await;
    let caught_up_after = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let took = calling.await.unwrap();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!(
        "{readers} readers, {events} events behind: caught up after {caught_up_after:?}; {} callbacks meanwhile: \
        p50 {:?}, p99 {:?}, longest {:?}",
        took.len(),
        at(50),
        at(99),
        at(100),
    );
    assert!(caught_up.is_ok(), "they do not catch up");
    assert!(at(99) < ANSWERED_WITHIN, "{:?}", at(99));
    Arc::into_inner(receiver).unwrap().stop().await;
}
