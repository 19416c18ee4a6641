//! What is deleted after its time, and what never is. The clock stands still until a test moves it,
//! and the janitor works only when a test says so.

mod callbacks;
mod cursors;
mod deleted;
mod export;
mod kept;
mod kill;
mod replicas;
mod year;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::delivery::routes::{Route, Routes};
use evolink_receiver::domain::delivery::{AttemptEnd, DeliveryId, EndpointKey, Holder, LEASE};
use evolink_receiver::domain::event::EventType;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::key_use::KeyLimits;
use evolink_receiver::domain::kind::Kind;
use evolink_receiver::domain::observation::{Observation, Source};
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::store::recorder::entry::{Entry, Idempotency, Intent, Receipt, SubmitEnded};
use evolink_receiver::store::retention::Retention;
use evolink_receiver::workers::janitor::{Dependencies, Export, ExportError, Janitor};
use evolink_receiver::workers::run_loop::{Progress, Worker as _};
use http::HeaderMap;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::app::START;
use crate::support::recorder::entry::PACE;
use crate::support::store::TestStore;
use crate::support::store::database::Database;

const DAY: Duration = Duration::from_hours(24);

/// The defaults.
const RETENTION: Retention = Retention {
    tasks: Duration::from_hours(24 * 90),
    events: Duration::from_hours(24 * 30),
    observations: Duration::from_hours(24 * 30),
    quarantine: Duration::from_hours(24 * 30),
    delivered: Duration::from_hours(24 * 7),
    dead: Duration::from_hours(24 * 30),
    results: Duration::from_hours(24 * 30),
    idempotency_keys: DAY,
};

/// A store with a recorder and a janitor.
struct Desk {
    store: Arc<Store>,
    recorder: Recorder,
    janitor: Janitor,
    clock: Clock,
    metrics: Metrics,
    holder: Holder,
    database: Database,
    stop: CancellationToken,
    running: JoinHandle<()>,
    _home: Option<Arc<TestStore>>,
}

impl Desk {
    async fn open() -> Self {
        Self::on(Arc::new(TestStore::new()), Clock::manual(START)).await
    }

    /// Opens `home`. On PostgreSQL, several desks are replicas.
    async fn on(home: Arc<TestStore>, clock: Clock) -> Self {
        Self {
            _home: Some(Arc::clone(&home)),
            ..Self::of(&home, clock).await
        }
    }

    async fn of(home: &TestStore, clock: Clock) -> Self {
        let store = Arc::new(Store::open(home.url()).await.unwrap());
        let (metrics, holder) = (Metrics::new(), Holder::new(clock.now()));
        let (recorder, worker) =
            Recorder::new(Arc::clone(&store), clock.clone(), PACE, metrics.clone());
        let worker = worker.archiving_files(true).with_routes(Routes {
            standing: vec![Route {
                endpoint: EndpointKey::standing("all"),
                events: vec![EventType::Completed, EventType::Failed],
            }],
            holder: holder.clone(),
            lease: LEASE,
        });
        let stop = CancellationToken::new();
        let janitor = Janitor::new(Dependencies {
            store: Arc::clone(&store),
            recorder: recorder.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            holder: holder.clone(),
            retention: RETENTION,
            first_after: Duration::ZERO,
            export: None,
        });
        Self {
            running: tokio::spawn(worker.run(stop.clone())),
            database: home.connect().await,
            store,
            recorder,
            janitor,
            clock,
            metrics,
            holder,
            stop,
            _home: None,
        }
    }

    async fn close(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        self.store.close().await;
        self.database.close().await;
    }

    async fn record(&self, entry: Entry) -> Receipt {
        self.recorder.record(entry).await.unwrap()
    }

    /// Records a submit that EvoLink accepted under `task_id`.
    async fn submitted(&self, task_id: &str) -> SubmissionId {
        let id = self.intended(task_id).await;
        self.record(said(id, Source::Submit, task_id, "pending"))
            .await;
        id
    }

    /// Records a submit that EvoLink has not answered.
    async fn intended(&self, key: &str) -> SubmissionId {
        let id = SubmissionId::new(self.clock.now());
        let intent = Intent {
            submission_id: id,
            client: None,
            kind: Kind::Image,
            model: "z-image-turbo".to_owned(),
            reference: None,
            request: Bytes::from_static(b"{}"),
            callback_url: None,
            idempotency: Some(Idempotency {
                name: format!("web/{key}"),
                fingerprint: [7; 32],
            }),
            guard: None,
            limits: KeyLimits::default(),
        };
        assert_eq!(self.record(Entry::Intent(intent)).await, Receipt::Fresh);
        id
    }

    /// Records a task that failed, so that it has no files.
    async fn failed(&self, task_id: &str) -> SubmissionId {
        let id = self.submitted(task_id).await;
        self.record(said(id, Source::Callback, task_id, "failed"))
            .await;
        id
    }

    /// Delivers all deliveries of a task.
    async fn deliver(&self, task_id: &str) {
        for id in self.deliveries(task_id).await {
            let ended = self.end(id, AttemptEnd::Delivered { status: 200 }).await;
            assert!(matches!(ended, Receipt::Delivery(_)), "{ended:?}");
        }
    }

    async fn deliveries(&self, task_id: &str) -> Vec<i64> {
        let sql = format!(
            "SELECT delivery.id FROM delivery JOIN task ON task.seq = task_seq
            WHERE task_id = '{task_id}' ORDER BY delivery.id"
        );
        let rows: Vec<(i64,)> = self.database.rows(&sql, &[]).await;
        rows.into_iter().map(|(id,)| id).collect()
    }

    async fn end(&self, id: i64, end: AttemptEnd) -> Receipt {
        self.record(Entry::DeliveryEnded {
            id: DeliveryId(id),
            holder: self.holder.clone(),
            attempt: 1,
            end,
            jitter: 0.5,
        })
        .await
    }

    /// A janitor that exports tasks before it deletes them.
    fn new_janitor(&self, export: Option<Export>) -> Janitor {
        Janitor::new(Dependencies {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            holder: self.holder.clone(),
            retention: RETENTION,
            first_after: Duration::ZERO,
            export,
        })
    }

    /// Records that EvoLink refused a submit.
    async fn refused(&self, submission_id: SubmissionId) {
        let ended = SubmitEnded::Refused {
            answer: None,
            idempotency: None,
        };
        let entry = Entry::SubmitEnded {
            submission_id,
            ended,
        };
        self.record(entry).await;
    }

    /// Has the janitor do all that is due. Returns whether it did anything.
    async fn sweep(&mut self) -> bool {
        self.try_sweep().await.unwrap()
    }

    async fn try_sweep(&mut self) -> Result<bool, ExportError> {
        let stop = CancellationToken::new();
        let mut any = false;
        loop {
            match self.janitor.tick(&stop).await? {
                Progress::More => any = true,
                other => {
                    assert_eq!(other, Progress::Idle);
                    return Ok(any);
                }
            }
        }
    }

    /// Lets days pass, as in a service that runs: the janitor works on each of them.
    async fn live(&mut self, days: u32) {
        for _ in 0..days {
            self.clock.advance(DAY);
            self.sweep().await;
        }
    }

    async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.database.value(&sql, &[]).await
    }

    /// Asserts that no row is left of anything that was deleted.
    async fn assert_whole(&self) {
        assert_whole(&self.database).await;
    }
}

/// Asserts that no row is left of anything that was deleted, and that the log has no gap.
async fn assert_whole(database: &Database) {
    for (what, sql) in [
        (
            "observations without a task",
            "SELECT count(*) FROM observation WHERE id / 1024 NOT IN (SELECT seq FROM task)",
        ),
        (
            "files without a task",
            "SELECT count(*) FROM result WHERE id / 64 NOT IN (SELECT seq FROM task)",
        ),
        (
            "events without a task",
            "SELECT count(*) FROM event WHERE task_seq NOT IN (SELECT seq FROM task)",
        ),
        (
            "deliveries without an event",
            "SELECT count(*) FROM delivery WHERE event_seq NOT IN (SELECT seq FROM event)",
        ),
        (
            "attempts without a delivery",
            "SELECT count(*) FROM failed_attempt WHERE delivery_id NOT IN (SELECT id FROM delivery)",
        ),
        (
            "gaps in the log",
            "SELECT coalesce(max(seq) - min(seq) + 1, 0) - count(*) FROM event",
        ),
        (
            "ends of submits without a task",
            "SELECT count(*) FROM submit_end WHERE task_seq NOT IN (SELECT seq FROM task)",
        ),
    ] {
        let rows: i64 = database.value(sql, &[]).await;
        assert_eq!(rows, 0, "{what}");
    }
}

fn said(id: SubmissionId, source: Source, task_id: &str, status: &str) -> Entry {
    let mut body = json!({"id": task_id, "status": status, "progress": 0});
    if status == "completed" {
        body["results"] = json!(["https://files.evolink.ai/0.webp"]);
    }
    Entry::Observed {
        subject: Subject::Submission(id),
        observation: Observation::parse(Bytes::from(body.to_string())).unwrap(),
        source,
        headers: HeaderMap::new(),
    }
}
