//! Background work of the store. It ends with the recorder, not with the listeners, because it must
//! also process what the last requests bring.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::parts::Parts;
use crate::observe::metrics::Metrics;
use crate::store::Store;
use crate::store::recorder::Recorder;
use crate::store::tail::{NewsReader, RingReader};
use crate::workers::run_loop::{Worker, run_loop};
use crate::workers::upkeep::database::{Checkpointer, MarkKeeper, SpaceWatch};
use crate::workers::upkeep::log::{LogFollower, WakeUpListener};
use crate::workers::upkeep::periodic::{DeliveryCount, Heartbeat};

pub struct StoreWorkers {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub metrics: Metrics,
    pub min_free: u64,
}

impl StoreWorkers {
    pub fn start(self, parts: &Parts) {
        let (workers, stop) = (&parts.workers, &parts.recorder_stop);
        let (store, metrics) = (|| Arc::clone(&self.store), || self.metrics.clone());
        let is_shared = self.store.is_shared();
        start(
            parts,
            workers,
            stop,
            Heartbeat {
                recorder: self.recorder.clone(),
                is_shared,
            },
        );
        start(
            parts,
            workers,
            stop,
            DeliveryCount {
                store: store(),
                metrics: metrics(),
            },
        );
        let ring = RingReader::new(store(), metrics());
        start(parts, workers, stop, LogFollower::new(&self.store, ring));
        if is_shared {
            start(
                parts,
                workers,
                stop,
                WakeUpListener {
                    store: store(),
                    listening: None,
                },
            );
            // With SQLite there is only one recorder, and it notifies the waiters of its own
            // batches.
            let news = NewsReader::new(store(), metrics());
            start(parts, workers, stop, LogFollower::new(&self.store, news));
        } else {
            self.start_for_sqlite(parts);
        }
    }

    fn start_for_sqlite(self, parts: &Parts) {
        let (workers, stop) = (&parts.workers, &parts.recorder_stop);
        let failed = self.recorder.failed();
        start(
            parts,
            workers,
            stop,
            Checkpointer {
                store: Arc::clone(&self.store),
                failed: failed.clone(),
                connection: None,
            },
        );
        start(
            parts,
            workers,
            stop,
            MarkKeeper {
                store: Arc::clone(&self.store),
                failed: failed.clone(),
                written: None,
            },
        );
        start(
            parts,
            workers,
            stop,
            SpaceWatch {
                failed: failed.clone(),
                store: self.store,
                metrics: self.metrics,
                min_free: self.min_free,
            },
        );
    }
}

/// Starts a worker that runs until `stop`.
pub fn start<W: Worker + 'static>(
    parts: &Parts,
    tracker: &TaskTracker,
    stop: &CancellationToken,
    worker: W,
) {
    let working = run_loop(worker, stop.clone());
    parts.run(W::WORK, tracker, stop, working);
}
