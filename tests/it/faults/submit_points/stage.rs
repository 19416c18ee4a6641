//! A receiver and a simulator that reach each other across restarts of the receiver.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::described;
use crate::support::machine::needs;
use crate::support::process::{Place, Receiver};
use crate::support::store::check;
use crate::support::store::database::Database;
use crate::support::until::PATIENCE;

/// Changes the clock of the process that loads it.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// Long enough for a submit to have been answered, or to be known as cut off.
const LATER: &str = "+3m";

/// EvoLink retries longer here, so that it is still retrying after a restart under load.
const CALLBACK_TRIES: usize = 60;
const CALLBACK_GAP: Duration = Duration::from_millis(300);

pub struct Stage {
    pub place: Place,
    pub evolink: Simulator,
    pub receiver: Receiver,
    /// The test's own connection to the store.
    pub eye: Database,
    app: described::Client,
}

/// The status and body of the answer to an app; `None` if there was none.
pub type Answer = Option<(u16, Value)>;

impl Stage {
    pub async fn new() -> Self {
        let mut place = Place::new();
        let base_url = format!(
            "EVOLINK_RECEIVER__PUBLIC__BASE_URL=https://{}",
            place.public()
        );
        place.launch_through(&[
            "env",
            &base_url,
            "EVOLINK_RECEIVER__RECONCILE__FIRST_POLL_AFTER=1s",
            "EVOLINK_RECEIVER__RECONCILE__INTERVAL_MIN=1s",
        ]);
        // The first start creates the certificate, which EvoLink must trust, before EvoLink starts.
        let mut first = place.start().await;
        let certificate = first.certificate_pem.clone();
        first.terminate();
        first.ended().await;
        let evolink = Simulator::start(Options {
            allow_private_callbacks: true,
            callback_ca_pem: Some(certificate.into_bytes()),
            retry_delays: vec![CALLBACK_GAP; CALLBACK_TRIES],
            estimated_time_s: 0,
            ..Options::default()
        });
        let evolink = evolink.await.unwrap();
        at_evolink(&mut place, &evolink.base_url());
        let eye = place.store().connect().await;
        let receiver = place.start().await;
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        Self {
            place,
            evolink,
            receiver,
            eye,
            app: described::client(http.build().unwrap()),
        }
    }

    /// Submits under `key`, and returns the answer; `None` if there was none.
    pub fn submit(&self, prompt: &str, key: &str) -> JoinHandle<Answer> {
        let url = format!("http://{}/v1/images/generations", self.place.internal());
        let request = self.app.post(url).header("idempotency-key", key);
        let request = request.json(&json!({"model": "z-image-turbo", "prompt": prompt}));
        tokio::spawn(async move {
            let answer = request.send().await.ok()?;
            Some((answer.status().as_u16(), answer.json().await.ok()?))
        })
    }

    /// Kills the receiver and starts it again. Returns how long it was away.
    pub async fn kill_and_start(&mut self) -> Duration {
        let began = Instant::now();
        self.receiver.kill();
        self.receiver = self.place.start().await;
        began.elapsed()
    }

    /// Stops the receiver, and starts it with a clock that is some minutes ahead. False, after
    /// saying so, where that is not possible.
    pub async fn start_later(&mut self) -> bool {
        let Some(library) = FAKETIME.into_iter().find(|path| Path::new(path).exists()) else {
            needs::skip("needs libfaketime");
            return false;
        };
        let preload = format!("LD_PRELOAD={library}");
        let later = format!("FAKETIME={LATER}");
        self.place
            .launch_through(&["env", &preload, &later, "DONT_FAKE_MONOTONIC=1"]);
        self.kill_and_start().await;
        true
    }

    /// Sets EvoLink's URL, effective from the next start.
    pub fn move_evolink(&mut self, url: &str) {
        at_evolink(&mut self.place, url);
    }

    /// The states of all records.
    pub async fn states(&self) -> Vec<String> {
        self.eye
            .values("SELECT state FROM task ORDER BY seq", &[])
            .await
    }

    pub async fn until_states(&self, wanted: &[&str]) {
        self.until(&format!("{wanted:?}"), async || {
            self.states().await == wanted
        })
        .await;
    }

    /// Waits until each of these EvoLink tasks has ended in the receiver.
    pub async fn until_bound(&self, ids: &[String]) {
        let sql = "SELECT task_id FROM task WHERE outcome_at IS NOT NULL";
        let all_are = async || {
            let ended: Vec<String> = self.eye.values(sql, &[]).await;
            ids.iter().all(|id| ended.contains(id))
        };
        self.until("an outcome for each callback", all_are).await;
    }

    pub async fn until_charged(&self) {
        self.until("a charge", async || self.evolink.stats().charges == 1)
            .await;
    }

    /// Waits until the receiver waits for the lock that `hold_writes` has taken.
    pub async fn until_in_line(&self) {
        self.until("somebody in line", async || self.is_in_line().await)
            .await;
    }

    /// Repeats the request until one waits for the lock. A receiver on PostgreSQL does not wait for
    /// long before it answers 503.
    pub async fn in_line<T>(&self, ask: impl Fn() -> JoinHandle<T>) -> JoinHandle<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut asking = ask();
        while !self.is_in_line().await {
            assert!(Instant::now() < deadline, "nobody is in line");
            if asking.is_finished() {
                asking = ask();
            }
            sleep(Duration::from_millis(5)).await;
        }
        asking
    }

    async fn until(&self, what: &str, is_it: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_it().await {
            assert!(
                Instant::now() < deadline,
                "it never came: {what}; {:?}",
                self.states().await
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_in_line(&self) -> bool {
        if self.eye.is_postgres() {
            // `pg_stat_activity` cannot be used. This transaction holds the lock, and within a
            // transaction the view keeps showing the sessions of the first query.
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            return self.eye.value::<i64>(waiting, &[]).await > 0;
        }
        // SQLite sleeps between two attempts to get the lock, and nothing else in the program
        // sleeps that way.
        let threads = format!("/proc/{}/task", self.receiver.pid());
        let mut threads = std::fs::read_dir(threads).unwrap().filter_map(Result::ok);
        threads.any(|thread| {
            let waits = std::fs::read_to_string(thread.path().join("wchan"));
            waits.is_ok_and(|waits| waits.contains("nanosleep"))
        })
    }

    /// The receiver is killed at its next write to a socket. `None`, after saying so, where that is
    /// not possible.
    pub async fn end_at_next_answer(&self) -> Option<Child> {
        let report = self.place.data().join("strace");
        let mut strace = Command::new("strace")
            .args(["-f", "-e", "trace=sendto,sendmsg,writev"])
            .arg("--inject=sendto,sendmsg,writev:signal=KILL:when=1+")
            .args(["-p", &self.receiver.pid().to_string()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&report).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(&report).unwrap();
            if said.contains("attached") {
                return Some(strace);
            }
            if strace.try_wait().unwrap().is_some() {
                needs::skip(&format!("strace cannot attach here: {said}"));
                return None;
            }
            assert!(Instant::now() < deadline, "it does not attach: {said}");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Asserts that nothing in the store is broken, and that each of `charges` is a task of its
    /// own.
    pub async fn assert_whole(&self, charges: u64, what: &str) {
        assert_eq!(self.evolink.stats().charges, charges, "{what}: charges");
        let faults = check::faults(self.place.store(), &[]).await;
        assert!(faults.is_empty(), "{what}: {faults:#?}");
    }
}

fn at_evolink(place: &mut Place, url: &str) {
    place.launch_through(&["env", &format!("EVOLINK_RECEIVER__EVOLINK__BASE_URL={url}")]);
}
