//! The clock of the machine jumps by ten years, and back, while the receiver runs and between two runs of it (I47). Nothing is
//! lost, nothing is doubled, no task is asked about too soon, and none is given up or forgotten.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evolink_receiver::domain::callback_token::Subject;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::simulator::{Options, QuerySeen, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::durability::load::{Load, Running};
use crate::durability::receiver::{PATIENCE, Place, Receiver};
use crate::durability::{check, random, rounds};
use crate::support::certificates::Pem;
use crate::support::needs::{Root, are_met};

/// What the clock of the machine shows beside the true time. The simulator has the true one.
const OFFSETS: [&str; 3] = ["+10y", "-10y", "+0"];

const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The process's own seconds may be shorter by a twentieth, while it is not with the system's clock.
const SOONEST_POLL: Duration = INTERVAL_MIN.saturating_sub(Duration::from_millis(55));

const SUBMITS: [&str; 4] = [
    "[sim:lost-callback]",
    "[sim:lost-callback,duration=1s]",
    "[sim:lost-callback,duration=4s]",
    "[sim:lost-callback,fail]",
];

/// A receiver whose clock is in a file, in front of a simulator that never calls back.
struct Story {
    place: Place,
    simulator: Simulator,
    clock: TempDir,
    load: Load,
    random: fastrand::Rng,
    submitted: Vec<String>,
    /// When a receiver was killed: what it had planned it can no longer keep apart.
    kills: Vec<jiff::Timestamp>,
}

impl Story {
    async fn begin() -> Option<Self> {
        let library = find_library()?;
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
        for word in [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DISABLE_SHM=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
            format!(
                "EVOLINK_RECEIVER__EVOLINK__BASE_URL={}",
                simulator.base_url()
            ),
            "EVOLINK_RECEIVER__RECONCILE__FIRST_POLL_AFTER=1s".to_owned(),
            format!(
                "EVOLINK_RECEIVER__RECONCILE__INTERVAL_MIN={}ms",
                INTERVAL_MIN.as_millis()
            ),
        ] {
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

    /// In one step: a reader finds the old text or the new one.
    fn set_clock(&self, offset: &str) {
        let (next, file) = (
            self.clock.path().join("next"),
            self.clock.path().join("offset"),
        );
        std::fs::write(&next, format!("{offset}\n")).unwrap();
        std::fs::rename(&next, &file).unwrap();
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.u64(..500))).await;
    }

    /// One life of the receiver: started at one time, moved to others under load, killed.
    async fn live(&mut self, started_at: &str) {
        self.set_clock(started_at);
        let mut receiver = self.place.start().await;
        let running = self.load.start(&receiver);
        let mut offsets = OFFSETS;
        self.random.shuffle(&mut offsets);
        for offset in offsets {
            let tasks = self.submit_some(&receiver).await;
            self.pause().await;
            self.set_clock(offset);
            running.reached(running.count() + 50).await;
            self.call_back(&receiver, &tasks).await;
            self.pause().await;
        }
        self.end(&mut receiver, running).await;
    }

    async fn end(&mut self, receiver: &mut Receiver, running: Running) {
        receiver.kill();
        self.kills.push(now());
        running.stop().await;
    }

    /// Gives the submission ids.
    async fn submit_some(&mut self, receiver: &Receiver) -> Vec<(String, String)> {
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

    /// A callback token does not age with the machine's clock: this process made it a moment ago.
    async fn call_back(&self, receiver: &Receiver, tasks: &[(String, String)]) {
        let ring = self.place.data().join("callback_tokens.key");
        let ring = std::fs::read_to_string(ring).unwrap();
        let ring = evolink_receiver::domain::callback_token::KeyRing::parse(&ring).unwrap();
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

    /// Waits until every task has ended, and gives how long that took.
    async fn all_ended(&self, receiver: &Receiver) -> Duration {
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

    /// By the simulator's clock, which is the true one.
    fn assert_polls_are_apart(&self) {
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

/// For any date that a receiver of this story may take for today's.
fn keep_certificate(data: &Path) {
    let pair = Pem::valid(1990, 2090);
    std::fs::create_dir_all(data).unwrap();
    std::fs::write(data.join("self-signed.crt"), pair.cert).unwrap();
    std::fs::write(data.join("self-signed.key"), pair.key).unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the true time, as the simulator has it"
)]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn find_library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let library = libraries.find(|library| library.exists());
    let library = library.unwrap_or_else(|| "/usr/lib/faketime/libfaketimeMT.so.1".into());
    are_met(Root::NotNeeded, &[library.to_str().unwrap()]).then_some(library)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_years_forward_and_back_lose_double_and_delay_nothing() {
    let Some(mut story) = Story::begin().await else {
        return;
    };
    let rounds = rounds(1, 10);
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        // Plans and ids of all three times meet in one store.
        for started_at in ["+0", "+10y", "-10y"] {
            story.live(started_at).await;
        }
        let offset = OFFSETS[story.random.usize(..3)];
        story.set_clock(offset);
        let mut receiver = story.place.start().await;
        longest = longest.max(story.all_ended(&receiver).await);
        receiver.kill();
        story.kills.push(now());
        let faults = check::faults(story.place.store(), &story.load.acknowledged()).await;
        assert!(faults.is_empty(), "{faults:#?}");
        story.assert_polls_are_apart();
        let charges = story.simulator.stats().charges;
        assert_eq!(
            charges,
            story.submitted.len() as u64,
            "each submit was charged once"
        );
    }
    println!(
        "{rounds} rounds, {} jumps, {} tasks, {} callbacks acknowledged, {} polls; the last task ended {longest:?} after the last start",
        rounds * 13,
        story.submitted.len(),
        story.load.acknowledged().len(),
        story.simulator.stats().polls,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_is_told_once_and_shown_and_no_time_jumps_with_it() {
    let Some(mut story) = Story::begin().await else {
        return;
    };
    story.set_clock("+0");
    let receiver = story.place.start().await;
    let began = Timestamp::from_millis(now().as_millisecond());
    assert_eq!(difference(&receiver).await, 0);
    story.set_clock("+10y");
    let deadline = Instant::now() + PATIENCE;
    while difference(&receiver).await < 9 * 365 * 24 * 3600 {
        assert!(Instant::now() < deadline, "the jump was not noticed");
        // The clock is looked at by whoever asks for the time.
        assert!(
            receiver
                .callback(r#"{"id":"t","status":"pending"}"#.to_owned())
                .await
                .is_some()
        );
    }
    story.submit_some(&receiver).await;
    let (_, page) = receiver.get("/v1/tasks").await.unwrap();
    for task in page["data"].as_array().unwrap() {
        let at: jiff::Timestamp = task["receiver"]["submitted_at"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let since = Timestamp::from_millis(at.as_millisecond()).since(began);
        assert!(
            since < PATIENCE * 2,
            "submitted {since:?} after the beginning: {task}"
        );
    }
    let told = receiver.log().matches("the system's clock was set").count();
    assert_eq!(told, 1, "{}", receiver.log());
}

async fn difference(receiver: &Receiver) -> i64 {
    let url = format!("http://{}/metrics", receiver.internal());
    let text = receiver
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let mut lines = text.lines();
    let value =
        lines.find_map(|line| line.strip_prefix("evolink_receiver_clock_difference_seconds "));
    value.unwrap().parse().unwrap()
}
