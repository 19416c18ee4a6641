//! The real program dies while it archives: by SIGKILL, and with the power. No row says more than
//! the disk has, everything is archived afterwards, and the sweep deletes what is left over.

mod kill;
mod power;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evolink_receiver::archive::Digest;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::app::callback_body::completed_with;
use crate::support::files::{Given, Origin, archive_in, kept, png};
use crate::support::process::{Place, Receiver};
use crate::support::store::check;
use crate::support::until::PATIENCE;

/// The tasks of one round, each with up to `FILES` files.
const TASKS: usize = 15;
const FILES: usize = 4;

/// The receiver may be archiving for this long after it was started for the last time.
const LAST_FETCHES: Duration = Duration::from_mins(2);

/// A campaign against one place.
struct Campaign {
    place: Place,
    origin: Origin,
    /// The digests of what the host has given, by URL.
    given: Arc<Mutex<HashMap<String, HashSet<String>>>>,
    acknowledged: Vec<String>,
    drafts: usize,
    orphans: usize,
}

impl Campaign {
    /// The host is slow, and gives other bytes for a file each time. So what is stored for nothing
    /// stays an orphan.
    async fn at(place: Place) -> Self {
        let given: Arc<Mutex<HashMap<String, HashSet<String>>>> = Arc::default();
        let noted = Arc::clone(&given);
        let origin = Origin::start(move |asked| {
            let file = png(fastrand::u64(..), fastrand::usize(5_000..40_000));
            let mut noted = noted.lock().unwrap();
            let of_path = noted.entry(asked.path.clone()).or_default();
            of_path.insert(Digest::of(&file).to_string());
            Given::Slowly(file, Duration::from_millis(fastrand::u64(..10)))
        })
        .await;
        archive_in(&place, r#"allow_networks = ["127.0.0.0/8"]"#);
        Self {
            place,
            origin,
            given,
            acknowledged: Vec::new(),
            drafts: 0,
            orphans: 0,
        }
    }

    fn folder(&self) -> PathBuf {
        self.place.data().join("results")
    }

    /// Completes the tasks of a round, and waits until some of their files were asked for.
    async fn load(&mut self, receiver: &Receiver, random: &mut fastrand::Rng) {
        let before = self.origin.count();
        for number in 0..TASKS {
            let id = format!("task-{}-{number}", self.acknowledged.len());
            let names = (0..random.usize(1..=FILES)).map(|n| format!("{id}-{n}.png"));
            let urls: Vec<String> = names.map(|name| self.origin.url(&name)).collect();
            let sent = receiver.callback(completed_with(&id, &json!(urls)));
            assert_eq!(sent.await, Some((200, None)), "{}", receiver.log_tail());
            self.acknowledged.push(id);
        }
        let deadline = Instant::now() + PATIENCE;
        while self.origin.count() < before + 10 {
            assert!(Instant::now() < deadline, "{}", receiver.log_tail());
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_micros(random.u64(..150_000))).await;
    }

    /// Asserts that each row which says so has its whole file. Called while no receiver runs.
    async fn assert_true(&mut self) {
        let rows = kept::rows(self.place.store()).await;
        let given = self.given.lock().unwrap().clone();
        let is_given = |row: &kept::Row| {
            let path = &row.url[self.origin.url("").len() - 1..];
            given[path].contains(&row.sha256)
        };
        let faults = kept::faults(&rows, &self.folder(), is_given);
        assert!(faults.is_empty(), "{faults:#?}");
        self.drafts += kept::drafts(&self.folder()).len();
        self.orphans += kept::orphans(&rows, &self.folder()).len();
    }

    /// Starts the receiver for the last time. Asserts that everything gets archived, and that
    /// nothing else is left once it has swept.
    async fn end(mut self) {
        let receiver = self.place.start().await;
        let deadline = Instant::now() + LAST_FETCHES;
        for id in &self.acknowledged {
            while !is_archived(&receiver, id).await {
                assert!(Instant::now() < deadline, "{id}: {}", receiver.log_tail());
                sleep(Duration::from_millis(50)).await;
            }
        }
        receiver.stop().await;
        self.assert_true().await;
        let faults = check::faults(self.place.store(), &[]).await;
        assert!(faults.is_empty(), "{faults:#?}");
        kept::age(&self.folder());
        // It sweeps soon after a start.
        let receiver = self.place.start().await;
        let rows = kept::rows(self.place.store()).await;
        let left = || {
            [
                kept::drafts(&self.folder()),
                kept::orphans(&rows, &self.folder()),
            ]
            .concat()
        };
        let deadline = Instant::now() + PATIENCE;
        while !left().is_empty() {
            assert!(Instant::now() < deadline, "{:?}", left());
            sleep(Duration::from_millis(100)).await;
        }
        receiver.stop().await;
        self.assert_true().await;
        println!(
            "{} tasks with {} files; {} drafts and {} orphans were left on the way",
            self.acknowledged.len(),
            rows.len(),
            self.drafts,
            self.orphans
        );
        assert!(self.drafts > 0, "it died in the middle of fetches");
    }
}

async fn is_archived(receiver: &Receiver, id: &str) -> bool {
    let (status, task) = receiver.get(&format!("/v1/tasks/{id}")).await.unwrap();
    assert_eq!(status, 200, "{id}: {task}");
    let results = task["receiver"]["results"].as_array().unwrap();
    assert!(!results.is_empty(), "{task}");
    let is_archived = |result: &Value| result["archived_at"].is_string();
    results.iter().all(is_archived)
}
