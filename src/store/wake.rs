//! The wake-up: a hint that something was recorded, never data. A waiter polls the store when the
//! hint comes, and after a while even without it. A hint may be lost with the connection that
//! carries it.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Database, Store, StoreError};

/// The channel of LISTEN and NOTIFY.
pub(super) const CHANNEL: &str = "evolink_receiver";

/// The longest time between two polls of a waiter, even if all hints are lost. Together with the
/// query that is at most a second.
pub const POLL_INTERVAL: Duration = Duration::from_millis(900);

/// A connection may be lost silently. After this much silence it is replaced.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Notifies all waiters in this process.
#[derive(Clone, Debug, Default)]
pub struct Wake(watch::Sender<()>);

/// A subscription. It sees every notification sent after it was created. So subscribe, then query,
/// then wait.
#[derive(Clone, Debug)]
pub struct Waiter(watch::Receiver<()>);

/// A connection on which other processes notify this one.
#[derive(Debug)]
pub struct Listening {
    listener: PgListener,
    wake: Wake,
}

impl Listening {
    /// Forwards every notification. Returns when the connection is lost, or was silent for so long
    /// that it may be.
    pub async fn forward(&mut self) {
        while let Ok(Ok(Some(_))) = timeout(SILENCE_MAX, self.listener.try_recv()).await {
            self.wake.notify();
        }
    }
}

impl Wake {
    pub fn waiter(&self) -> Waiter {
        Waiter(self.0.subscribe())
    }

    pub(super) fn notify(&self) {
        self.0.send_replace(());
    }
}

impl Waiter {
    /// Waits until there may be something new, at most for `POLL_INTERVAL`.
    pub async fn wait(&mut self) {
        // The sender lives as long as the store. A wake-up without news is harmless.
        let _ = timeout(POLL_INTERVAL, self.0.changed()).await;
    }
}

impl Store {
    /// Listens to the wake-ups of other processes. `None` with SQLite, where there are none.
    pub async fn listen(&self) -> Result<Option<Listening>, StoreError> {
        let Database::Postgres(server) = &self.database else {
            return Ok(None);
        };
        let listener = server.listen().await?;
        let wake = self.wake.clone();
        // Notifications from before this connection are lost, so waiters must query once.
        wake.notify();
        Ok(Some(Listening { listener, wake }))
    }
}
