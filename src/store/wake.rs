//! The wake-up: a hint that something was recorded, never data. A waiter polls the store when the
//! hint comes, and after a while even without it. A hint may be lost with the connection that
//! carries it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::{Database, Store, StoreError};

/// The channel of LISTEN and NOTIFY.
pub(super) const CHANNEL: &str = "evolink_receiver";

/// The longest time between two polls of a waiter, even if all hints are lost. Together with the
/// query that is at most a second.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(900);

/// Notifies all waiters in this process.
#[derive(Clone, Debug, Default)]
pub struct Wake(watch::Sender<()>);

/// A subscription. It sees every notification sent after it was created. So subscribe, then query,
/// then wait.
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
    /// Waits until there may be something new, at most for `LOOK_INTERVAL`.
    pub async fn wait(&mut self) {
        // The sender lives as long as the store. A wake-up without news is harmless.
        let _ = timeout(LOOK_INTERVAL, self.0.changed()).await;
    }
}

impl Store {
    /// Forwards the wake-ups of other processes. Returns when the connection is lost. With SQLite
    /// there are none.
    pub async fn listen(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Postgres(server) => server.listen(&self.wake).await,
            Database::Sqlite(_) => std::future::pending().await,
        }
    }
}
