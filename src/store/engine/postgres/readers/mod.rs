//! The connections that read. Recording is the main job, of this replica and of the others. So
//! readers hold more than one connection only while they use it and the server has slots left. A
//! connection that is refused, or that took one of the last slots, lowers the limit, so that reads
//! wait for each other. The writer takes one of their slots when it finds none.
//!
//! No reader ever begins a transaction, so none can be left open (rule F1).

mod limit;
mod reader;
mod slots;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::QUEUED_AFTER;
use super::gate::{Gate, Held};
use super::server::{CONNECT_TIMEOUT, PostgresServer};
use crate::store::StoreError;
use reader::{Permit, RECOVERY_TIMEOUT, Reader};
use slots::{FEW_LEFT, are_few_left};

/// A connection that was idle for this time is closed unless it is the last one, because another
/// replica may need its slot.
const SPARE_MAX: Duration = Duration::from_secs(1);

/// How often idle connections are looked at, while there are several.
const TRIM_INTERVAL: Duration = Duration::from_millis(500);

/// A connection that was idle for this time is not used again: it may have been cut silently.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The maximum age of a connection. A session's memory grows on the server.
const AGE_MAX: Duration = Duration::from_mins(30);

/// The delay of a retry where the server refuses even one connection that reads.
const RETRY_AFTER: Duration = Duration::from_millis(250);

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
    /// Each connection has a clone, so the clones are the number of connections.
    connections: Arc<()>,
    /// Held while a connection is opened. Only then it is known whether the server has another one.
    opening: AsyncMutex<()>,
    /// Notified when a connection becomes idle.
    returned: Notify,
    gate: Gate,
}

#[derive(Debug)]
struct State {
    /// The connection used last is at the end and is reused first, so that the others become idle
    /// for long.
    idle: Vec<Idle>,
    /// The limit of connections. There may be more until their queries are answered.
    allowed: usize,
    /// The number of permits, in use or not.
    permits: usize,
    /// When the free slots of the server were last counted.
    counted_at: Option<Instant>,
    is_trimmed: bool,
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
    _count: Arc<()>,
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
                permits: most,
                counted_at: None,
                is_trimmed: false,
                limited_at: None,
                is_wanted_back: false,
            }),
            connections: Arc::default(),
            opening: AsyncMutex::default(),
            returned: Notify::new(),
            gate: Gate::new(),
        }))
    }

    /// The highest number of connections.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Waits for a connection. The caller bounds the time.
    ///
    /// # Errors
    /// `CannotOpen` if the server refuses the login for another reason than its limit.
    pub async fn acquire(&self) -> Result<Reader, StoreError> {
        loop {
            self.grow();
            let permit = self.permit().await?;
            if let Some(live) = Box::pin(self.reuse()).await {
                return Ok(self.reader(live, permit));
            }
            // Boxed, because this future is large and rarely used.
            match Box::pin(self.obtain()).await {
                Ok(Some(live)) => return Ok(self.reader(live, permit)),
                Ok(None) => {}
                Err(error @ StoreError::NoConnectionLeft { .. }) => {
                    let has_others = self.lower_to_connections(&error);
                    drop(permit);
                    if !has_others {
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
        let all = u32::try_from(self.state().permits).unwrap_or(u32::MAX);
        // A connection that is refused meanwhile lowers the limit, so not all permits may come.
        let permits = self.0.permits.acquire_many(all);
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
            let live = self.state().idle.pop()?.live;
            if let Some(live) = self.checked(live).await {
                return Some(live);
            }
        }
    }

    /// Returns an idle connection if it still answers. Lowers the limit if the server has few slots
    /// left: others may need those that we hold.
    async fn checked(&self, mut live: Live) -> Option<Live> {
        if self.is_count_due() && are_few_left(&mut live.connection).await {
            self.lower((self.connections() / 2).max(1), &FEW_LEFT);
        }
        let pinged = timeout(CONNECT_TIMEOUT, live.connection.ping()).await;
        matches!(pinged, Ok(Ok(()))).then_some(live)
    }

    /// Opens a connection, or takes one that is returned earlier. Returns `None` if that one no
    /// longer answers.
    ///
    /// # Errors
    /// `NoConnectionLeft`, `CannotOpen`.
    async fn obtain(&self) -> Result<Option<Live>, StoreError> {
        let returned = tokio::select! {
            biased;
            live = self.returned() => live,
            _turn = self.0.opening.lock() => {
                let mut opening = pin!(self.open());
                match timeout(QUEUED_AFTER, &mut opening).await {
                    Ok(opened) => return opened.map(Some),
                    // PgBouncer lets a connection that is too many wait.
                    Err(_) => tokio::select! {
                        opened = &mut opening => return opened.map(Some),
                        live = self.returned() => {
                            self.lower_to_connections(&"a new connection takes long");
                            live
                        }
                    },
                }
            }
        };
        Ok(self.checked(returned).await)
    }

    /// Waits until a connection is idle, and takes it.
    async fn returned(&self) -> Live {
        loop {
            let mut returned = pin!(self.0.returned.notified());
            returned.as_mut().enable();
            if let Some(idle) = self.state().idle.pop() {
                return idle.live;
            }
            returned.await;
        }
    }

    async fn open(&self) -> Result<Live, StoreError> {
        self.0.gate.pass().await;
        let mut live = Live {
            connection: self.0.server.connect_reader().await?,
            opened_at: Instant::now(),
            _count: Arc::clone(&self.0.connections),
        };
        if self.connections() > 1 && are_few_left(&mut live.connection).await {
            return Err(self.0.server.no_connection_left(FEW_LEFT.to_owned()));
        }
        Ok(live)
    }

    fn take_old(&self) -> Option<Idle> {
        let mut state = self.state();
        let is_old = state
            .idle
            .first()
            .is_some_and(|idle| idle.since.elapsed() > IDLE_MAX);
        is_old.then(|| state.idle.remove(0))
    }

    async fn permit(&self) -> Result<Permit, StoreError> {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        Ok(Permit {
            permit: Some(permit.map_err(|_| StoreError::Stopped)?),
            readers: self.clone(),
        })
    }

    fn reader(&self, live: Live, permit: Permit) -> Reader {
        Reader {
            live: Some(live),
            is_answered: true,
            permit: Some(permit),
            readers: self.clone(),
        }
    }

    /// Returns a connection whose query is answered to the idle list, or closes it.
    fn put(&self, live: Live) {
        let mut state = self.state();
        if std::mem::take(&mut state.is_wanted_back)
            || self.connections() > state.allowed
            || live.opened_at.elapsed() > AGE_MAX
            || self.0.permits.is_closed()
        {
            return;
        }
        state.idle.push(Idle {
            live,
            since: Instant::now(),
        });
        if state.idle.len() > 1
            && !state.is_trimmed
            && let Ok(runtime) = Handle::try_current()
        {
            state.is_trimmed = true;
            runtime.spawn(self.clone().trim());
        }
        drop(state);
        self.0.returned.notify_one();
    }

    /// Closes unused connections until one idle connection is left.
    async fn trim(self) {
        loop {
            sleep(TRIM_INTERVAL).await;
            let (spare, is_over) = self.take_spare();
            for idle in spare {
                let _ = timeout(CLOSE_TIMEOUT, idle.live.connection.close()).await;
            }
            if is_over {
                return;
            }
        }
    }

    /// Takes idle connections that were not used lately, except for one. Also returns whether no
    /// other is left.
    fn take_spare(&self) -> (Vec<Idle>, bool) {
        let mut state = self.state();
        let unused = state
            .idle
            .iter()
            .take_while(|idle| idle.since.elapsed() >= SPARE_MAX)
            .count();
        let spare = unused.min(state.idle.len().saturating_sub(1));
        let spare = state.idle.drain(..spare).collect();
        state.is_trimmed = state.idle.len() > 1;
        (spare, !state.is_trimmed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
