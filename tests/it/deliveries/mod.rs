//! Deliveries in the store: they are created with the outcome and only once, who may send them, and
//! what operators see and do. Nothing is sent here.

mod api;
mod balance;
mod commands;
mod listen;
mod made;
mod many;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::delivery::routes::{Route, Routes};
use evolink_receiver::domain::delivery::{
    AttemptEnd, DeliveryId, DeliveryState, EndpointKey, HELD_MAX, Holder, LEASE, schedule,
};
use evolink_receiver::domain::event::EventType;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::key_use::KeyLimits;
use evolink_receiver::domain::kind::Kind;
use evolink_receiver::domain::observation::{Observation, Source};
use evolink_receiver::domain::task::polling::Pace;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::deliveries::DueDelivery;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::store::recorder::entry::{Entry, Intent, Receipt};
use http::HeaderMap;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::app::START;
use crate::support::store::TestStore;
use crate::support::store::database::Database;

const PACE: Pace = Pace {
    first_poll_after: Duration::from_secs(15),
    interval_min: Duration::from_secs(3),
    give_up_after: Duration::from_hours(1),
};

/// The address of an app, with a secret in it.
const OWN: &str = "http://web.internal:8000/hook?key=canary";
const OWN_ORIGIN: &str = "http://web.internal:8000";

/// A store with a recorder that creates deliveries for two standing endpoints.
struct Desk {
    store: Arc<Store>,
    recorder: Recorder,
    clock: Clock,
    metrics: Metrics,
    /// The holder of the deliveries that this recorder creates.
    holder: Holder,
    database: Database,
    home: Arc<TestStore>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Desk {
    async fn open() -> Self {
        Self::on(Arc::new(TestStore::new()), standing(), Clock::manual(START)).await
    }

    async fn on(home: Arc<TestStore>, standing: Vec<Route>, clock: Clock) -> Self {
        let store = Arc::new(Store::open(home.url()).await.unwrap());
        let (metrics, holder) = (Metrics::new(), Holder::new(clock.now()));
        let (recorder, worker) =
            Recorder::new(Arc::clone(&store), clock.clone(), PACE, metrics.clone());
        let worker = worker.with_routes(Routes {
            standing,
            holder: holder.clone(),
            lease: LEASE,
        });
        let stop = CancellationToken::new();
        Self {
            running: tokio::spawn(worker.run(stop.clone())),
            database: home.connect().await,
            store,
            recorder,
            clock,
            metrics,
            holder,
            home,
            stop,
        }
    }

    /// Ends like a process that is asked to stop. The store remains.
    async fn close(self) -> (Arc<TestStore>, Clock) {
        self.stop.cancel();
        self.running.await.unwrap();
        self.store.close().await;
        self.database.close().await;
        (self.home, self.clock)
    }

    async fn record(&self, entry: Entry) -> Receipt {
        self.recorder.record(entry).await.unwrap()
    }

    /// Records a submit that EvoLink accepted under `task_id`.
    async fn submitted(&self, task_id: &str, callback_url: Option<&str>) -> SubmissionId {
        let id = SubmissionId::new(self.clock.now());
        let intent = Intent {
            submission_id: id,
            client: None,
            kind: Kind::Image,
            model: "z-image-turbo".to_owned(),
            reference: None,
            request: Bytes::from_static(b"{}"),
            callback_url: callback_url.map(str::to_owned),
            idempotency: None,
            guard: None,
            limits: KeyLimits::default(),
        };
        assert_eq!(self.record(Entry::Intent(intent)).await, Receipt::Fresh);
        self.record(said(id, Source::Submit, task_id, "pending"))
            .await;
        id
    }

    /// Records the outcome of a new task. Returns the numbers of its deliveries.
    async fn outcome(&self, task_id: &str, status: &str, callback_url: Option<&str>) -> Vec<i64> {
        let id = self.submitted(task_id, callback_url).await;
        self.record(said(id, Source::Callback, task_id, status))
            .await;
        self.owed(task_id)
            .await
            .into_iter()
            .map(|(id, ..)| id)
            .collect()
    }

    /// Number, endpoint and URL of the deliveries of a task.
    async fn owed(&self, task_id: &str) -> Vec<(i64, String, Option<String>)> {
        let sql = format!(
            "SELECT delivery.id, endpoint, url FROM delivery JOIN task ON task.seq = task_seq
            WHERE task_id = '{task_id}' ORDER BY delivery.id"
        );
        self.database.rows(&sql, &[]).await
    }

    async fn end(&self, id: i64, attempt: u32, end: AttemptEnd) -> Receipt {
        self.record(Entry::DeliveryEnded {
            id: DeliveryId(id),
            holder: self.holder.clone(),
            attempt,
            end,
            jitter: 0.5,
        })
        .await
    }

    async fn claim(&self, id: i64) -> Receipt {
        self.record(Entry::DeliveryClaimed {
            id: DeliveryId(id),
            holder: self.holder.clone(),
            lease: LEASE,
        })
        .await
    }

    async fn retry(&self, id: i64) -> Receipt {
        let id = DeliveryId(id);
        self.record(Entry::DeliveryRetried { id }).await
    }

    /// The deliveries to `endpoint` that this process may send now.
    async fn due(&self, endpoint: &str) -> Vec<i64> {
        let due = self.due_whole(endpoint).await;
        due.iter().map(|due| due.id.0).collect()
    }

    async fn due_whole(&self, endpoint: &str) -> Vec<DueDelivery> {
        let (endpoint, now) = (EndpointKey::parse(endpoint), self.clock.now());
        let due = self
            .store
            .list_due_deliveries(&endpoint, now, &self.holder, 100);
        due.await.unwrap()
    }

    async fn state(&self, id: i64) -> (String, i64, Option<String>) {
        let sql = format!("SELECT state, attempts, last_error FROM delivery WHERE id = {id}");
        self.database.row(&sql, &[]).await
    }
}

/// `all` wants every outcome, `bad` the unsuccessful ones.
fn standing() -> Vec<Route> {
    let route = |name: &str, events: &[EventType]| Route {
        endpoint: EndpointKey::standing(name),
        events: events.to_vec(),
    };
    vec![
        route(
            "all",
            &[
                EventType::Completed,
                EventType::Failed,
                EventType::Cancelled,
            ],
        ),
        route("bad", &[EventType::Failed, EventType::Cancelled]),
    ]
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

fn failed() -> AttemptEnd {
    AttemptEnd::Failed {
        status: Some(503),
        reason: "503".to_owned(),
        retry_after: None,
    }
}

fn gone() -> AttemptEnd {
    AttemptEnd::Failed {
        status: Some(410),
        reason: "410".to_owned(),
        retry_after: None,
    }
}

const OK: AttemptEnd = AttemptEnd::Delivered { status: 200 };
const SECOND: Duration = Duration::from_secs(1);
const NONE: [i64; 0] = [];
