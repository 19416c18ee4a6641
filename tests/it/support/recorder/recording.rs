//! A store with its recorder. A process normally has one; several in this process act as replicas
//! without HTTP.

use std::sync::Arc;

use evolink_receiver::clock::Clock;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::Recorder;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::entry::{PACE, completed};

pub struct Recording {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Recording {
    pub async fn start(url: &str) -> Self {
        let store = Arc::new(Store::open(url).await.unwrap());
        let (recorder, worker) =
            Recorder::new(Arc::clone(&store), Clock::System, PACE, Metrics::new());
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
