//! Background work of the store. It ends with the recorder, not with the listeners, because it must
//! also process what the last requests bring. On each database, some of these workers have nothing
//! to do and just wait for the end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use crate::observe::metrics::Metrics;
use crate::store::Store;

pub struct StoreWorkers {
    pub store: Arc<Store>,
    /// Cancelled when the disk has failed.
    pub failed: CancellationToken,
    pub metrics: Metrics,
    pub min_free: u64,
}

impl StoreWorkers {
    pub fn start(self, parts: &Parts) {
        let stop = &parts.recorder_stop;
        let (store, stopping) = (Arc::clone(&self.store), stop.clone());
        let listening = async move { store.listen(stopping).await };
        parts.run("the wake-up listener", &parts.workers, stop, listening);

        let (store, stopping) = (Arc::clone(&self.store), stop.clone());
        let metrics = self.metrics.clone();
        let telling = async move { store.tell_news(metrics, stopping).await };
        parts.run("the teller of news", &parts.workers, stop, telling);

        let (store, stopping) = (Arc::clone(&self.store), stop.clone());
        let metrics = self.metrics.clone();
        let reading = async move { store.fill_ring(metrics, stopping).await };
        parts.run("the reader of the log", &parts.workers, stop, reading);

        let (store, stopping) = (Arc::clone(&self.store), stop.clone());
        let failed = self.failed.clone();
        let checkpoints = async move { store.run_checkpoints(failed, stopping).await };
        parts.run("the checkpointer", &parts.workers, stop, checkpoints);

        let (store, stopping) = (Arc::clone(&self.store), stop.clone());
        let failed = self.failed.clone();
        let marking = async move { store.keep_mark(failed, stopping).await };
        parts.run("the keeper of the mark", &parts.workers, stop, marking);

        let (store, stopping) = (Arc::clone(&self.store), stop.clone());
        let metrics = self.metrics.clone();
        let counting = async move { store.count_deliveries_until(metrics, stopping).await };
        parts.run("the count of deliveries", &parts.workers, stop, counting);

        let (store, stopping) = (self.store, stop.clone());
        let (min_free, metrics, failed) = (self.min_free, self.metrics, self.failed);
        let watching = async move { store.watch_space(min_free, metrics, failed, stopping).await };
        parts.run("the space watch", &parts.workers, stop, watching);
    }
}
