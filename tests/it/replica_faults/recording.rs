//! A store with its recorder. A process normally has one; several in this process act as replicas
//! without HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::observation::{Observation, Source};
use evolink_receiver::domain::task::polling::Pace;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::store::recorder::entry::Entry;
use http::HeaderMap;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Recording {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Recording {
    pub async fn start(url: &str) -> Self {
        let store = Arc::new(Store::open(url).await.unwrap());
        let pace = Pace {
            first_poll_after: Duration::from_secs(15),
            interval_min: Duration::from_secs(3),
            give_up_after: Duration::from_hours(1),
        };
        let (recorder, worker) =
            Recorder::new(Arc::clone(&store), Clock::System, pace, Metrics::new());
        let stop = CancellationToken::new();
        Self {
            store,
            recorder,
            worker: tokio::spawn(worker.run(stop.clone())),
            stop,
        }
    }

    /// Records an event of a new task.
    pub async fn record(&self, task_id: &str) {
        let recorded = self.recorder.record(completed(task_id)).await;
        assert!(recorded.is_ok(), "{task_id}: {recorded:?}");
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.worker.await.unwrap();
        self.store.close().await;
    }
}

pub fn completed(task_id: &str) -> Entry {
    let body = format!(
        r#"{{"id":"{task_id}","status":"completed","progress":100,"results":["https://files.evolink.ai/0.webp"]}}"#
    );
    Entry::Observed {
        subject: Subject::Standing("bench".parse().unwrap()),
        observation: Observation::parse(Bytes::from(body)).unwrap(),
        source: Source::Callback,
        headers: HeaderMap::new(),
    }
}
