//! Which attempts begin in a step of the worker.

use std::fs;

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::{NamedTempFile, TempDir};

use super::*;
use crate::config::Config;
use crate::domain::delivery::DeliveryId;
use crate::domain::event::id::{Epoch, EventId};
use crate::domain::ids::SubmissionId;
use crate::domain::task::polling::Pace;
use crate::egress::{self, EndpointUrls};
use crate::store::deliveries::DueDelivery;
use crate::task_object::TaskObjects;

const PACE: Pace = Pace {
    first_poll_after: Duration::from_secs(15),
    interval_min: Duration::from_secs(3),
    give_up_after: Duration::from_hours(1),
};

/// A worker with one delivery in its queues. Nothing is recorded, so an attempt goes no further
/// than to its claim.
struct Bench {
    worker: ForwarderWorker,
    stop: CancellationToken,
    beneath: SqliteConnection,
    _folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("receiver.db").display());
        let store = Arc::new(Store::open(url.as_str()).await.unwrap());
        let (clock, metrics) = (Clock::System, Metrics::new());
        let (recorder, _) = Recorder::new(Arc::clone(&store), clock.clone(), PACE, metrics.clone());
        let mut forward = Config::default().forward;
        forward.secret_file = folder.path().join("forward.whsec");
        let (stop, now) = (CancellationToken::new(), clock.now());
        let dependencies = Dependencies {
            task_objects: TaskObjects::default(),
            store,
            recorder,
            egress: Egress::new(egress::rules(&forward, &[]), "test").unwrap(),
            signing_files: Arc::new(SigningFiles::open(&forward).unwrap()),
            endpoints: EndpointUrls::default(),
            holder: Holder::new(now),
            clock,
            metrics,
            at_once: 8,
            stop: stop.clone(),
            giving_up: CancellationToken::new(),
        };
        let mut worker = Forwarder::new(dependencies).worker();
        let endpoint = EndpointKey::standing("billing");
        worker.queues.mark(&endpoint);
        let due = DueDelivery {
            id: DeliveryId(1024),
            event_id: EventId {
                epoch: Epoch::random(),
                seq: 1,
            },
            endpoint: endpoint.clone(),
            url: None,
            submission_id: SubmissionId::first_at(now),
            attempts: 0,
            due_at: now,
            held_until: None,
        };
        worker.queues.fill(&endpoint, vec![due], 64);
        Self {
            worker,
            stop,
            beneath: SqliteConnection::connect(&url).await.unwrap(),
            _folder: folder,
        }
    }

    async fn break_scans(&mut self) {
        let away = "ALTER TABLE delivery RENAME TO elsewhere";
        self.beneath.execute(away).await.unwrap();
        let store = &self.worker.forwarder.dependencies.store;
        let scanned = store.list_endpoints_with_work(None, 1).await;
        assert!(scanned.is_err(), "{scanned:?}");
    }

    async fn attempts_after_a_step(&mut self) -> usize {
        self.worker.tick(&self.stop).await.unwrap();
        self.worker.attempts.len()
    }
}

#[tokio::test]
async fn a_delivery_in_the_queues_is_sent_although_the_scan_fails() {
    let mut bench = Bench::new().await;
    bench.break_scans().await;
    assert_eq!(bench.attempts_after_a_step().await, 1);
}

/// The stop came during the step, and so after the loop had looked.
#[tokio::test]
async fn no_attempt_begins_after_a_stop() {
    let mut bench = Bench::new().await;
    bench.stop.cancel();
    assert_eq!(bench.attempts_after_a_step().await, 0);
}

#[tokio::test]
async fn a_scan_that_a_stop_cuts_off_is_not_logged_as_a_success() {
    let log = NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Mutex::new(log.reopen().unwrap()))
        .with_ansi(false)
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let mut bench = Bench::new().await;
    bench.break_scans().await;
    bench.worker.tick(&bench.stop).await.unwrap();
    bench.stop.cancel();
    bench.worker.is_scan_due = true;
    let step = bench.worker.tick(&bench.stop).await;
    assert_eq!(step, Ok(Progress::Unneeded));
    let log = fs::read_to_string(log.path()).unwrap();
    assert!(log.contains("the scan for due deliveries failed"), "{log}");
    assert!(!log.contains("works again"), "{log}");
}
