//! Restarts every few seconds under callbacks with EvoLink's retry times: every callback that was
//! sent is delivered.

mod apps;
mod key;
mod stop;
mod tally;

use std::time::Duration;

use apps::Apps;
use evolink_receiver::simulator::{CallbackAttempt, Faults, Options, Simulator};
use jiff::Timestamp;
use serde_json::{Value, json};
use tally::{Tally, over};
use tokio::time::{Instant, sleep};

use crate::support::campaign::{random, rounds};
use crate::support::described;
use crate::support::process::{Place, Receiver};
use crate::support::store::check;

/// How long an orchestrator waits before it kills a process.
const STOP_MAX: Duration = Duration::from_secs(10);

const SUBMIT: &str = "/v1/images/generations";

const RESTART_EVERY: Duration = Duration::from_secs(3);

/// Longer than EvoLink retries, so callbacks first tried at the start of the outage are lost.
const OUTAGE: Duration = Duration::from_secs(8);

/// Longer than EvoLink retries, so an outcome that a poll finds first was lost as a callback.
const FIRST_POLL_AFTER: &str = "9s";

/// Returns a receiver's place, and the simulator that calls it back there.
async fn staged(options: Options) -> (Place, Simulator) {
    let place = Place::new();
    let simulator = Simulator::start(Options {
        allow_private_callbacks: true,
        callback_ca_pem: Some(place.make_certificate().into_bytes()),
        ..options
    });
    let simulator = simulator.await.unwrap();
    place.configure_evolink(&simulator.base_url());
    (place, simulator)
}

/// Submits. Returns status and body, or `None` if there was no answer.
async fn submit(
    http: &described::Client,
    base_url: &str,
    key: &str,
    prompt: &str,
) -> Option<(u16, Value)> {
    let request = http
        .post(format!("{base_url}{SUBMIT}"))
        .header("idempotency-key", key)
        .json(&json!({"model": "z-image-turbo", "prompt": prompt}));
    let answer = request.send().await.ok()?;
    Some((
        answer.status().as_u16(),
        answer.json().await.unwrap_or_default(),
    ))
}

fn base_url(receiver: &Receiver) -> String {
    format!("http://{}", receiver.internal())
}

/// Measurements of the restarts.
#[derive(Default)]
struct Restarts {
    terminated: u32,
    killed: u32,
    slowest_stop: Duration,
    /// When processes were started.
    starts: Vec<Timestamp>,
}

impl Restarts {
    async fn once(
        &mut self,
        place: &Place,
        receiver: &mut Receiver,
        by_term: bool,
        down: Duration,
    ) {
        let begun = Instant::now();
        if by_term {
            receiver.terminate();
            let status = receiver.ended().await;
            assert_eq!(status.code(), Some(0), "{}", receiver.log_tail());
            self.slowest_stop = self.slowest_stop.max(begun.elapsed());
            assert!(self.slowest_stop < STOP_MAX, "{:?}", self.slowest_stop);
            self.terminated += 1;
        } else {
            receiver.kill();
            self.killed += 1;
        }
        sleep(down).await;
        self.starts.push(Timestamp::now());
        *receiver = place.start().await;
    }

    /// The longest time from the start of a process to the first callback that was answered 2xx.
    fn slowest_start(&self, attempts: &[CallbackAttempt]) -> Duration {
        let answered = attempts.iter().filter(|attempt| attempt.is_acknowledged());
        let answered: Vec<Timestamp> = answered
            .map(|attempt| attempt.at + Duration::from_millis(attempt.elapsed_ms))
            .collect();
        let first_after = |start: &Timestamp| {
            let after = answered.iter().filter(|at| *at > start);
            after
                .min()
                .map(|first| first.duration_since(*start).unsigned_abs())
        };
        let gaps = self.starts.iter().filter_map(first_after);
        gaps.max().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_under_callbacks_lose_none_and_double_none() {
    let mut random = random();
    let faults = Faults::seeded(random.u64(..))
        .with("duration=50ms..3s", 1.0)
        .and_then(|faults| faults.with("stall=10ms..600ms", 0.5))
        .unwrap();
    let (place, simulator) = staged(Options {
        estimated_time_s: 0,
        faults,
        ..Options::default()
    })
    .await;
    place.configure(
        "first_poll_after = \"1h\"",
        &format!("first_poll_after = \"{FIRST_POLL_AFTER}\""),
    );
    let mut receiver = place.start().await;
    let apps = Apps::start(receiver.http.clone(), base_url(&receiver));
    let mut seen = Restarts::default();
    let count = rounds(6, 100);
    for round in 1..=count {
        sleep(RESTART_EVERY.mul_f64(0.5 + random.f64())).await;
        // One long outage in the short run, ten in the long run.
        let down = if round % 10 == 4 {
            OUTAGE
        } else {
            Duration::ZERO
        };
        // Half of the restarts use SIGTERM and half SIGKILL, and the short run has both.
        seen.once(&place, &mut receiver, round % 2 == 0, down).await;
    }
    let statuses = apps.stop().await;
    settle(&simulator, &receiver).await;

    receiver.terminate();
    assert_eq!(
        receiver.ended().await.code(),
        Some(0),
        "{}",
        receiver.log_tail()
    );
    let broken = check::faults(place.store(), &[]).await;
    assert!(broken.is_empty(), "{broken:#?}");
    let tally = Tally::of(&place, &simulator).await;
    println!(
        "{} SIGTERM, slowest stop {:.1?}; {} SIGKILL; slowest start to a 2xx {:.1?}; submits answered {statuses:?}",
        seen.terminated,
        seen.slowest_stop,
        seen.killed,
        seen.slowest_start(&simulator.callback_attempts()),
    );
    println!("{tally}");
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    assert!(tally.by_callback > 0 && tally.by_poll > 0, "{tally}");
}

/// Waits until the callback of each task was acknowledged or given up, and no task is pending or
/// processing.
async fn settle(simulator: &Simulator, receiver: &Receiver) {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let attempts = simulator.callback_attempts();
        let tasks = simulator.tasks();
        let over = over(&attempts);
        let all_over = tasks.iter().all(|task| over.contains(task.id.as_str()));
        let (_, pending) = receiver
            .get("/v1/tasks?status=pending&limit=1")
            .await
            .unwrap();
        let (_, processing) = receiver
            .get("/v1/tasks?status=processing&limit=1")
            .await
            .unwrap();
        let open = |page: &Value| !page["data"].as_array().unwrap().is_empty();
        if all_over && !open(&pending) && !open(&processing) {
            return;
        }
        assert!(Instant::now() < deadline, "{pending} {processing}");
        sleep(Duration::from_millis(200)).await;
    }
}
