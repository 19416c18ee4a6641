//! Waiters for news of a task, beside the worker that wakes them.

use std::sync::Arc;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::recorder::entry::Entry;
use evolink_receiver::store::tail::{NewsReader, TaskWatch};
use evolink_receiver::workers::run_loop::run_loop;
use evolink_receiver::workers::upkeep::log::LogFollower;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::entry::completed;
use super::recording::Recording;
use crate::support::until::PATIENCE;

/// A store with its recorder, and the worker under test.
pub struct Bench {
    pub recording: Recording,
    stop: CancellationToken,
    teller: JoinHandle<()>,
}

impl Bench {
    pub async fn start(url: &str) -> Self {
        Self::over(Recording::start(url).await)
    }

    pub fn over(recording: Recording) -> Self {
        let (store, stop) = (Arc::clone(&recording.store), CancellationToken::new());
        let stopping = stop.clone();
        let telling = NewsReader::new(Arc::clone(&store), Metrics::new());
        let telling = LogFollower::new(&store, telling);
        Self {
            recording,
            // A store that is not shared needs no reader: its recorder tells the waiters.
            teller: tokio::spawn(async move {
                if store.is_shared() {
                    run_loop(telling, stopping).await;
                }
            }),
            stop,
        }
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.teller.await.unwrap();
        self.recording.end().await;
    }
}

pub fn new_id() -> SubmissionId {
    SubmissionId::new(Timestamp::from_millis(1_757_165_031_000))
}

/// The outcome of a submission that the store knows nothing about yet.
pub fn outcome_of(id: SubmissionId) -> Entry {
    let mut entry = completed(&format!("task-{id}"));
    if let Entry::Observed { subject, .. } = &mut entry {
        *subject = Subject::Submission(id);
    }
    entry
}

pub async fn news(watch: &mut TaskWatch, what: &str) {
    let told = timeout(PATIENCE, watch.news()).await;
    assert!(told.is_ok(), "{what}: a wake-up was lost");
}
