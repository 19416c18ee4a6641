//! The load: many connections, each sending one request after the other, either as fast as they are answered or at a fixed
//! rate. At a fixed rate a request's time counts from when it should have been sent, so that a server that falls behind
//! cannot make its own queue invisible.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::callback::{Script, TaskNumber};
use crate::connection::{Connection, Endpoint};

/// After the end of a load, how long answers may still take.
const DRAIN: Duration = Duration::from_secs(20);

/// After a failure, so that a dead server is not hammered.
const AFTER_FAILURE: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The next request follows the answer.
    Closed,
    /// So many requests a second, whatever the answers do.
    Open(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    KeepAlive,
    /// Each request on a connection of its own, handshake included.
    NewEach,
}

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub connections: usize,
    pub pace: Pace,
    pub reuse: Reuse,
}

/// When it counts.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: Instant,
    pub until: Instant,
}

impl Window {
    pub fn after(warm_up: Duration, length: Duration) -> Self {
        let from = Instant::now() + warm_up;
        Self {
            from,
            until: from + length,
        }
    }

    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

/// A request that was answered as it must be.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub task: Option<TaskNumber>,
    pub at: Instant,
    pub latency_us: u32,
    /// Answered within the window.
    pub counts: bool,
}

/// All that came of a load.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answered: Vec<Answered>,
    pub failures: usize,
    pub first_failure: Option<String>,
}

/// A load under way.
pub struct Running {
    clients: JoinSet<Vec<Answered>>,
    plan: Arc<Plan>,
}

/// What all clients of a load share.
struct Plan {
    endpoint: Endpoint,
    script: Script,
    load: Load,
    window: Window,
    begin: Instant,
    next: AtomicUsize,
    /// With an open pace, one permit a request that is due.
    due: Semaphore,
    failures: Mutex<(usize, Option<String>)>,
}

impl Load {
    pub const fn closed(connections: usize) -> Self {
        Self {
            connections,
            pace: Pace::Closed,
            reuse: Reuse::KeepAlive,
        }
    }

    /// Begins now and ends with the window.
    pub fn start(self, endpoint: &Endpoint, script: Script, window: Window) -> Running {
        let plan = Arc::new(Plan {
            endpoint: endpoint.clone(),
            script,
            load: self,
            window,
            begin: Instant::now(),
            next: AtomicUsize::new(0),
            due: Semaphore::new(0),
            failures: Mutex::default(),
        });
        if let Pace::Open(per_second) = self.pace {
            let plan = Arc::clone(&plan);
            std::thread::spawn(move || plan.beat(per_second));
        }
        let mut clients = JoinSet::new();
        for _ in 0..self.connections {
            clients.spawn(client(Arc::clone(&plan)));
        }
        Running { clients, plan }
    }
}

impl Running {
    /// Waits until every client is done.
    pub async fn finish(mut self) -> Outcome {
        let patience = self
            .plan
            .window
            .until
            .saturating_duration_since(Instant::now())
            + DRAIN;
        let mut answered = Vec::new();
        let all = async {
            while let Some(client) = self.clients.join_next().await {
                answered.append(&mut client.expect("a client does not panic"));
            }
        };
        if timeout(patience, all).await.is_err() {
            self.plan.fail("no answer long after the end".to_owned());
        }
        let failures = &self.plan.failures;
        let (failures, first_failure) = failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Outcome {
            answered,
            failures,
            first_failure,
        }
    }
}

impl Plan {
    /// Tokio's clock ticks in milliseconds, a thread's sleep is exact to a tenth of one.
    fn beat(&self, per_second: u32) {
        let mut given = 0;
        while Instant::now() < self.window.until {
            let elapsed = self.begin.elapsed().as_micros() * u128::from(per_second) / 1_000_000;
            let owed = usize::try_from(elapsed).unwrap_or(usize::MAX);
            self.due.add_permits(owed - given);
            given = owed;
            let next = self.begin + due_after(given + 1, per_second);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.due.close();
    }

    /// The number of the next request and since when its time counts; `None` at the end.
    async fn next(&self) -> Option<(usize, Instant)> {
        match self.load.pace {
            Pace::Closed => {
                let now = Instant::now();
                let nth = self.next.fetch_add(1, Ordering::Relaxed);
                (now < self.window.until).then_some((nth, now))
            }
            Pace::Open(per_second) => {
                self.due.acquire().await.ok()?.forget();
                let nth = self.next.fetch_add(1, Ordering::Relaxed);
                Some((nth, self.begin + due_after(nth + 1, per_second)))
            }
        }
    }

    fn fail(&self, what: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.0 += 1;
        failures.1.get_or_insert(what);
    }
}

/// When the `nth` request is due, counted from 1.
fn due_after(nth: usize, per_second: u32) -> Duration {
    let nanos = nth as u128 * 1_000_000_000 / u128::from(per_second);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

async fn client(plan: Arc<Plan>) -> Vec<Answered> {
    let mut answered = Vec::new();
    let mut request = Vec::new();
    let mut connection = None;
    loop {
        if plan.load.reuse == Reuse::KeepAlive && connection.is_none() {
            connection = connect(&plan).await;
        }
        let Some((nth, since)) = plan.next().await else {
            return answered;
        };
        if connection.is_none() {
            connection = connect(&plan).await;
        }
        let Some(open) = connection.take() else {
            continue;
        };
        let task = plan.script.write(nth, &mut request);
        connection = match exchange(&plan, open, &request).await {
            Err(failure) => {
                plan.fail(failure);
                sleep(AFTER_FAILURE).await;
                None
            }
            Ok(connection) => {
                let now = Instant::now();
                let latency = now.saturating_duration_since(since).as_micros();
                answered.push(Answered {
                    task,
                    at: now,
                    latency_us: u32::try_from(latency).unwrap_or(u32::MAX),
                    counts: plan.window.from <= now && now < plan.window.until,
                });
                connection
            }
        };
    }
}

async fn connect(plan: &Plan) -> Option<Connection> {
    match plan.endpoint.connect().await {
        Ok(connection) => Some(connection),
        Err(error) => {
            plan.fail(format!("cannot connect: {error}"));
            sleep(AFTER_FAILURE).await;
            None
        }
    }
}

/// The connection comes back if another request may follow.
async fn exchange(
    plan: &Plan,
    mut connection: Connection,
    request: &[u8],
) -> Result<Option<Connection>, String> {
    let answer = connection
        .exchange(request)
        .await
        .map_err(|error| error.to_string())?;
    let says = plan.script.says.as_bytes();
    let is_right = answer.status == plan.script.status
        && (says.is_empty() || answer.body.windows(says.len()).any(|part| part == says));
    if !is_right {
        let body = String::from_utf8_lossy(answer.body);
        return Err(format!("answered {} {body}", answer.status));
    }
    let is_last = answer.is_last || plan.load.reuse == Reuse::NewEach;
    if is_last {
        connection.close().await;
        return Ok(None);
    }
    Ok(Some(connection))
}
