//! One connection while it is used, and the right to have it.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{Live, Readers};

/// How long to wait for a read whose caller has left, before its connection is used again. The
/// server ends the read after 5 s.
pub(super) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The right to have one connection.
pub(super) struct Permit {
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) readers: Readers,
}

/// A connection for reading. It is returned when this is dropped.
pub struct Reader {
    pub(super) live: Option<Live>,
    /// False while a query is in progress.
    pub(super) is_answered: bool,
    pub(super) permit: Option<Permit>,
    pub(super) readers: Readers,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let mut state = self.readers.state();
        if state.permits > state.allowed {
            state.permits -= 1;
            permit.forget();
        }
    }
}

impl Reader {
    /// Runs one query. If the caller leaves meanwhile, the connection is used again only after the
    /// answer came.
    pub async fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let live = self.live.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        self.is_answered = false;
        let answer = question(&mut live.connection).await;
        self.is_answered = true;
        answer
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let (Some(mut live), permit) = (self.live.take(), self.permit.take()) else {
            return;
        };
        if self.is_answered {
            self.readers.put(live);
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let readers = self.readers.clone();
        runtime.spawn(async move {
            // The ping first reads the rest of the previous answer.
            let recovered = timeout(RECOVERY_TIMEOUT, live.connection.ping()).await;
            if matches!(recovered, Ok(Ok(()))) {
                readers.put(live);
            }
            drop(permit);
        });
    }
}
