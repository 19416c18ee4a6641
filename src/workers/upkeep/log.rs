//! The workers that follow the log of events: for waiters, for subscribers, and for what other
//! replicas record.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::store::tail::{LogReader, Read};
use crate::store::wake::{Listening, Waiter};
use crate::store::{Store, StoreError};
use crate::workers::run_loop::{Progress, Worker, pause};

/// The delay after a failed read, or before LISTEN is tried again.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Forwards the wake-ups of other replicas. While it cannot, waiters query the store once a second.
pub struct WakeUpListener {
    pub store: Arc<Store>,
    /// `None` while there is no connection.
    pub listening: Option<Listening>,
}

impl Worker for WakeUpListener {
    const WORK: &'static str = "listening to other replicas";
    const BACK_OFF: Duration = BACK_OFF;
    type Error = StoreError;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, StoreError> {
        let Some(listening) = stop.run_until_cancelled(self.store.listen()).await else {
            return Ok(Progress::Unneeded);
        };
        self.listening = listening?;
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        let began = Instant::now();
        if let Some(listening) = &mut self.listening {
            listening.forward().await;
        }
        // The connection keeps its slot on the server until it is dropped.
        self.listening = None;
        // A server may accept each connection and end it at once.
        if began.elapsed() < BACK_OFF {
            pause(BACK_OFF).await;
        }
    }
}

/// Continues to read the log while a waiter or a subscriber needs it.
pub struct LogFollower<R> {
    reader: R,
    wake: Waiter,
    read: Read,
}

impl<R> LogFollower<R> {
    pub fn new(store: &Store, reader: R) -> Self {
        Self {
            reader,
            wake: store.wake().waiter(),
            read: Read::Unwanted,
        }
    }
}

impl<R: LogReader + Send + Sync> Worker for LogFollower<R> {
    const WORK: &'static str = R::WORK;
    const BACK_OFF: Duration = BACK_OFF;
    type Error = StoreError;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, StoreError> {
        let Some(read) = stop.run_until_cancelled(self.reader.read()).await else {
            return Ok(Progress::Unneeded);
        };
        self.read = read?;
        Ok(match self.read {
            Read::Unwanted => Progress::Unneeded,
            Read::Part(_) | Read::All(_) => Progress::Idle,
        })
    }

    async fn wake_up(&mut self) {
        match self.read {
            Read::Unwanted => self.reader.wanted().await,
            Read::Part(pause) => sleep(pause).await,
            Read::All(pause) => {
                sleep(pause).await;
                self.wake.wait().await;
            }
        }
    }
}
