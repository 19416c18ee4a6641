//! Tests what one tick of the worker reports if it fails or is cut off.

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(30);

const PACE: Pace = Pace {
    first_poll_after: Duration::from_secs(15),
    interval_min: Duration::from_secs(3),
    give_up_after: Duration::from_hours(1),
};

/// A worker whose store cannot be scanned.
struct Bench {
    worker: ReconcilerWorker,
    _folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("receiver.db").display());
        let store = Arc::new(Store::open(url.as_str()).await.unwrap());
        let (clock, metrics) = (Clock::System, Metrics::new());
        let (recorder, _) = Recorder::new(Arc::clone(&store), clock.clone(), PACE, metrics.clone());
        let base_url = "http://localhost:9".parse().unwrap();
        let evolink = EvolinkClient::new(base_url, "key".into(), TIMEOUT, "test").unwrap();
        let mut beneath = SqliteConnection::connect(&url).await.unwrap();
        let away = "ALTER TABLE task RENAME TO elsewhere";
        beneath.execute(away).await.unwrap();
        let dependencies = Dependencies {
            store,
            recorder,
            evolink: Arc::new(evolink),
            rate_limits: Arc::new(RateLimits::new(10, 10)),
            clock,
            metrics,
            pace: PACE,
            evolink_timeout: TIMEOUT,
            stop: CancellationToken::new(),
            giving_up: CancellationToken::new(),
        };
        Self {
            worker: Reconciler::new(dependencies).worker(),
            _folder: folder,
        }
    }
}

#[tokio::test]
async fn a_scan_that_a_stop_cuts_off_is_no_success() {
    let mut bench = Bench::new().await;
    // The stop came during the step, and so after it had begun.
    bench.worker.reconciler.dependencies.stop.cancel();
    let step = bench.worker.tick(&CancellationToken::new()).await;
    assert!(matches!(step, Ok(Progress::Unneeded)), "{step:?}");
}

#[tokio::test]
async fn the_end_of_a_poll_is_no_success_of_the_scan() {
    let mut bench = Bench::new().await;
    for _ in 0..POLLS_AT_ONCE {
        bench.worker.polls.spawn(async {});
    }
    let step = bench.worker.tick(&CancellationToken::new()).await;
    assert!(step.is_err(), "{step:?}");
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_a_poll_to_end() {
    let mut bench = Bench::new().await;
    for _ in 0..POLLS_AT_ONCE {
        bench.worker.polls.spawn(std::future::pending());
    }
    let stop = CancellationToken::new();
    stop.cancel();
    let progress = bench.worker.tick(&stop).await.unwrap();
    assert_eq!(progress, Progress::Unneeded);
}
