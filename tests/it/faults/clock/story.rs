//! A receiver whose clock is controlled by a file, in front of a simulator that has the true time
//! and never calls back.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::simulator::{Options, QuerySeen, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::OFFSETS;
use crate::support::campaign::random;
use crate::support::machine::faketime::{self, now};
use crate::support::net::certificates::Pem;
use crate::support::process::load::Load;
use crate::support::process::{Place, Receiver};
use crate::support::until::PATIENCE;

const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Shortest allowed time between two polls. The process's own seconds may be shorter by a twentieth
/// while its clock differs from the system's clock.
const SOONEST_POLL: Duration = INTERVAL_MIN.saturating_sub(Duration::from_millis(55));

const SUBMITS: [&str; 4] = [
    "[sim:lost-callback]",
    "[sim:lost-callback,duration=1s]",
    "[sim:lost-callback,duration=4s]",
    "[sim:lost-callback,fail]",
];

/// A receiver whose clock is controlled by a file, in front of a simulator that never calls back.
pub struct Story {
    pub place: Place,
    pub simulator: Simulator,
    clock: TempDir,
    pub load: Load,
    pub random: fastrand::Rng,
    pub submitted: Vec<String>,
    /// When a receiver was killed. Polls that it had planned may then come too close together.
    pub kills: Vec<jiff::Timestamp>,
}

impl Story {
    pub async fn begin() -> Option<Self> {
        let library = faketime::library()?;
        let options = Options {
            allow_private_callbacks: true,
            estimated_time_s: 1,
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.unwrap();
        let clock = tempfile::tempdir().unwrap();
        let mut place = Place::new();
        keep_certificate(place.data());
        let file = clock.path().join("offset");
        let words = faketime::launcher(&library, &file);
        for word in words.into_iter().chain([
            format!(
                "EVOLINK_RECEIVER__EVOLINK__BASE_URL={}",
                simulator.base_url()
            ),
            "EVOLINK_RECEIVER__RECONCILE__FIRST_POLL_AFTER=1s".to_owned(),
            format!(
                "EVOLINK_RECEIVER__RECONCILE__INTERVAL_MIN={}ms",
                INTERVAL_MIN.as_millis()
            ),
        ]) {
            place.launch_through(&[&word]);
        }
        Some(Self {
            place,
            simulator,
            clock,
            load: Load::new(),
            random: random(),
            submitted: Vec::new(),
            kills: Vec::new(),
        })
    }

    pub fn set_clock(&self, offset: &str) {
        faketime::set(&self.clock.path().join("offset"), offset);
    }

    pub async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.u64(..500))).await;
    }

    /// Runs the receiver once: starts it at one time, moves its clock to others under load, kills
    /// it.
    pub async fn live(&mut self, started_at: &str) {
        self.set_clock(started_at);
        let mut receiver = self.place.start().await;
        let mut offsets = OFFSETS;
        self.random.shuffle(&mut offsets);
        for offset in offsets {
            let tasks = self.submit_some(&receiver).await;
            self.pause().await;
            // Run the load only around the jump, because checking for lost callbacks takes long in
            // a store with very many tasks.
            let running = self.load.start(&receiver);
            running.reached(20).await;
            self.set_clock(offset);
            running.reached(running.count() + 20).await;
            running.stop().await;
            self.call_back(&receiver, &tasks).await;
            self.pause().await;
        }
        let running = self.load.start(&receiver);
        running.reached(20).await;
        receiver.kill();
        self.kills.push(now());
        running.stop().await;
    }

    /// Submits some tasks, and returns their submission ids and task ids.
    pub async fn submit_some(&mut self, receiver: &Receiver) -> Vec<(String, String)> {
        let mut submitted = Vec::new();
        for prompt in SUBMITS {
            let url = format!("http://{}/v1/images/generations", receiver.internal());
            let body = json!({"model": "z-image-turbo", "prompt": prompt});
            let answer = receiver.http.post(url).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", receiver.log_tail());
            let task: Value = answer.json().await.unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let id = text(&task["id"]);
            self.submitted.push(id.clone());
            submitted.push((id, text(&task["receiver"]["submission_id"])));
        }
        submitted
    }

    /// Sends callbacks. A callback token does not expire with the machine's clock, because this
    /// process minted it a moment ago.
    pub async fn call_back(&self, receiver: &Receiver, tasks: &[(String, String)]) {
        let ring = self.place.data().join("callback_tokens.key");
        let ring = std::fs::read_to_string(ring).unwrap();
        let ring = KeyRing::parse(&ring).unwrap();
        for (task_id, submission_id) in tasks {
            let token = ring.mint(&Subject::Submission(submission_id.parse().unwrap()));
            let url = receiver.callback_url();
            let (base, _) = url.rsplit_once('/').unwrap();
            let body = format!(r#"{{"id":"{task_id}","status":"processing","progress":1}}"#);
            let sent = receiver
                .http
                .post(format!("{base}/{token}"))
                .body(body)
                .send()
                .await;
            assert_eq!(sent.unwrap().status(), 200, "{}", receiver.log_tail());
        }
    }

    /// Waits until every task has ended, and returns how long that took.
    pub async fn all_ended(&self, receiver: &Receiver) -> Duration {
        let begun = Instant::now();
        for id in &self.submitted {
            loop {
                let (status, task) = receiver.get(&format!("/v1/tasks/{id}")).await.unwrap();
                assert_eq!(status, 200, "{id}: {task}");
                let state = task["receiver"]["state"].as_str().unwrap();
                if matches!(state, "completed" | "failed") {
                    break;
                }
                assert_ne!(state, "unresolved", "time alone has ended {id}: {task}");
                assert!(
                    begun.elapsed() < PATIENCE,
                    "still {state}: {task}\n{}",
                    receiver.log_tail()
                );
                sleep(Duration::from_millis(50)).await;
            }
        }
        begun.elapsed()
    }

    /// Asserts that polls are far enough apart by the simulator's clock, which has the true time.
    pub fn assert_polls_are_apart(&self) {
        let mut polls: HashMap<String, QuerySeen> = HashMap::new();
        for poll in self.simulator.queries() {
            let Some(last) = polls.insert(poll.task_id.clone(), poll.clone()) else {
                continue;
            };
            let is_between = |kill: &jiff::Timestamp| last.at <= *kill && *kill <= poll.at;
            if !self.kills.iter().any(is_between) {
                let gap = Duration::try_from(poll.at - last.at).unwrap();
                assert!(
                    gap >= SOONEST_POLL,
                    "{}: asked about again after {gap:?}",
                    poll.task_id
                );
            }
        }
    }
}

/// Writes a certificate that is valid at every date that a receiver of this test may see.
fn keep_certificate(data: &Path) {
    let pair = Pem::valid(1990, 2090);
    std::fs::create_dir_all(data).unwrap();
    std::fs::write(data.join("self-signed.crt"), pair.cert).unwrap();
    std::fs::write(data.join("self-signed.key"), pair.key).unwrap();
}
