//! The wake-up: a hint that something was recorded, never data. Who waits for news looks again when it comes, and looks
//! again after a while even if it does not: a hint may be lost with the connection that carries it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Database, Store};

/// The channel of LISTEN and NOTIFY.
pub(super) const CHANNEL: &str = "evolink_receiver";

/// How long somebody who waits goes without a look, whatever became of the hints. With the look itself it is a second at most.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(900);

/// Between two tries to listen.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Tells all who wait in this process.
#[derive(Clone, Debug, Default)]
pub struct Wake(watch::Sender<()>);

/// One who waits. What is told from its making on is not missed: make it first, look, then wait.
#[derive(Clone, Debug)]
pub struct Waiter(watch::Receiver<()>);

impl Wake {
    pub fn waiter(&self) -> Waiter {
        Waiter(self.0.subscribe())
    }

    pub(super) fn tell(&self) {
        self.0.send_replace(());
    }
}

impl Waiter {
    /// Returns when there may be something new; after `LOOK_INTERVAL` at the latest.
    pub async fn wait(&mut self) {
        // The sender lives as long as the store, and to be woken for nothing harms nobody.
        let _ = timeout(LOOK_INTERVAL, self.0.changed()).await;
    }
}

impl Store {
    /// Takes in the wake-ups of other processes until `stop`. With SQLite there are none.
    pub async fn listen(&self, stop: CancellationToken) {
        if let Database::Postgres(server) = &self.database {
            while !stop.is_cancelled() {
                match stop.run_until_cancelled(server.listen(&self.wake)).await {
                    Some(Ok(())) | None => {}
                    Some(Err(error)) => {
                        warn!(error = %error, "wake-ups of other replicas do not arrive; who waits looks once a second");
                        stop.run_until_cancelled(tokio::time::sleep(LISTEN_AGAIN))
                            .await;
                    }
                }
            }
            info!("no longer listening to other replicas");
        } else {
            stop.cancelled().await;
        }
    }
}
