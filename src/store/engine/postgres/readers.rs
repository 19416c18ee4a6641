//! The connections that read. There are no more of them than the server has slots for. A refused
//! connection lowers the limit, so that reads wait for each other. The writer takes one of their
//! slots when it finds none. Recording is the main job.
//!
//! No reader ever begins a transaction, so none can be left open (RELIABILITY F1).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::gate::{Gate, Held};
use super::server::{CONNECT_TIMEOUT, PostgresServer};
use crate::store::StoreError;

/// A connection that was idle for this time is closed, because another replica may need its slot.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The maximum age of a connection. A session's memory grows on the server.
const AGE_MAX: Duration = Duration::from_mins(30);

/// The delay before the limit is raised by one after a refusal. Each refusal is a line in the
/// server's log.
const GROW_AFTER: Duration = Duration::from_secs(10);

/// The delay of a retry where the server refuses even one connection that reads.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How long to wait for a read whose caller has left, before its connection is used again. The
/// server ends the read after 5 s.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The time limit for closing a connection. It takes one packet.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections that read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: PostgresServer,
    /// One permit for each connection that may exist. Closed with the store.
    permits: Arc<Semaphore>,
    /// The highest number of connections.
    most: usize,
    state: Mutex<State>,
    gate: Gate,
}

#[derive(Debug)]
struct State {
    /// The connection used last is at the end and is reused first, so that the others become idle
    /// for long.
    idle: Vec<Idle>,
    /// The current number of permits, in use or not.
    allowed: usize,
    /// When the server last refused a connection, or when the limit was raised after that.
    limited_at: Option<Instant>,
    /// The next connection that is returned is closed, because the writer or the listener needs its
    /// slot.
    is_wanted_back: bool,
}

#[derive(Debug)]
struct Idle {
    live: Live,
    since: Instant,
}

#[derive(Debug)]
struct Live {
    connection: PgConnection,
    opened_at: Instant,
}

/// A connection for reading. It is returned when this is dropped.
pub struct Reader {
    live: Option<Live>,
    /// False while a query is in progress.
    is_answered: bool,
    permit: Option<OwnedSemaphorePermit>,
    readers: Readers,
}

impl Readers {
    pub fn new(server: PostgresServer, most: usize) -> Self {
        let most = most.max(1);
        Self(Arc::new(Inner {
            server,
            permits: Arc::new(Semaphore::new(most)),
            most,
            state: Mutex::new(State {
                idle: Vec::new(),
                allowed: most,
                limited_at: None,
                is_wanted_back: false,
            }),
            gate: Gate::new(),
        }))
    }

    /// Waits for a connection. The caller bounds the time.
    ///
    /// # Errors
    /// `CannotOpen` if the server refuses the login for another reason than its limit.
    pub async fn acquire(&self) -> Result<Reader, StoreError> {
        loop {
            self.grow();
            let permit = Arc::clone(&self.0.permits).acquire_owned().await;
            let permit = permit.map_err(|_| StoreError::Stopped)?;
            if let Some(live) = Box::pin(self.reuse()).await {
                return Ok(self.reader(live, permit));
            }
            self.0.gate.pass().await;
            // Boxed, because this future is large and rarely used.
            match Box::pin(self.0.server.connect_reader()).await {
                Ok(connection) => return Ok(self.reader(Live::new(connection), permit)),
                Err(error @ StoreError::NoConnectionLeft { .. }) => {
                    if !self.shrink(permit, &error) {
                        sleep(RETRY_AFTER).await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Blocks readers from opening connections until the returned guard is dropped.
    pub fn hold_back(&self) -> Held<'_> {
        self.0.gate.hold()
    }

    /// Closes one connection to free a slot: an idle one at once, otherwise the next one whose
    /// query is answered.
    pub async fn give_back(&self) {
        let idle = {
            let mut state = self.state();
            let idle = (!state.idle.is_empty()).then(|| state.idle.remove(0));
            state.is_wanted_back = idle.is_none();
            idle
        };
        if let Some(idle) = idle {
            debug!(
                "a connection that read is closed: the one that writes or listens needs its place"
            );
            let _ = timeout(CLOSE_TIMEOUT, idle.live.connection.close()).await;
        }
    }

    /// Lets readers keep their connections again: the writer and the listener have theirs.
    pub fn keep(&self) {
        self.state().is_wanted_back = false;
    }

    /// Waits for queries in progress, and closes all connections.
    pub async fn close(&self) {
        let all = u32::try_from(self.0.most).unwrap_or(u32::MAX);
        let allowed = u32::try_from(self.state().allowed).unwrap_or(all);
        // A connection that is refused meanwhile lowers the limit, so not all permits may come.
        let permits = self.0.permits.acquire_many(allowed);
        let _permits = timeout(RECOVERY_TIMEOUT, permits).await;
        self.0.permits.close();
        let idle = std::mem::take(&mut self.state().idle);
        for idle in idle {
            let _ = timeout(CLOSE_TIMEOUT, idle.live.connection.close()).await;
        }
    }

    /// Returns an idle connection that still answers. Closes one that was idle for long.
    async fn reuse(&self) -> Option<Live> {
        let old = self.take_old();
        if let Some(old) = old {
            let _ = timeout(CLOSE_TIMEOUT, old.live.connection.close()).await;
        }
        loop {
            let mut live = self.state().idle.pop()?.live;
            let pinged = timeout(CONNECT_TIMEOUT, live.connection.ping()).await;
            if matches!(pinged, Ok(Ok(()))) {
                return Some(live);
            }
        }
    }

    fn take_old(&self) -> Option<Idle> {
        let mut state = self.state();
        let is_old = state
            .idle
            .first()
            .is_some_and(|idle| idle.since.elapsed() > IDLE_MAX);
        is_old.then(|| state.idle.remove(0))
    }

    fn reader(&self, live: Live, permit: OwnedSemaphorePermit) -> Reader {
        Reader {
            live: Some(live),
            is_answered: true,
            permit: Some(permit),
            readers: self.clone(),
        }
    }

    /// Lowers the limit by the connection that was refused. False if it was the last one.
    fn shrink(&self, permit: OwnedSemaphorePermit, refusal: &StoreError) -> bool {
        let mut state = self.state();
        state.limited_at = Some(Instant::now());
        if state.allowed == 1 {
            return false;
        }
        if state.allowed == self.0.most {
            info!(error = %refusal, "reads share fewer connections than store.max_connections allows: the server refuses more");
        }
        state.allowed -= 1;
        permit.forget();
        true
    }

    /// Raises the limit by one if the last refusal is long ago.
    fn grow(&self) {
        let mut state = self.state();
        let is_due = state.allowed < self.0.most
            && state.limited_at.is_none_or(|at| at.elapsed() >= GROW_AFTER);
        if is_due {
            state.limited_at = Some(Instant::now());
            state.allowed += 1;
            self.0.permits.add_permits(1);
        }
    }

    /// Returns a connection whose query is answered to the idle list, or closes it.
    fn put(&self, live: Live) {
        let mut state = self.state();
        if std::mem::take(&mut state.is_wanted_back)
            || live.opened_at.elapsed() > AGE_MAX
            || self.0.permits.is_closed()
        {
            // Dropping is enough: the server ends a session whose client has disconnected.
            return;
        }
        state.idle.push(Idle {
            live,
            since: Instant::now(),
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn new(connection: PgConnection) -> Self {
        Self {
            connection,
            opened_at: Instant::now(),
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
