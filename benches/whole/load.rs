//! The load: many connections, each sending one request after the other. They send either as fast
//! as they get responses, or at a fixed rate. At a fixed rate, a request's time counts from when it
//! should have been sent, so that a server that falls behind cannot hide its own queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::callback::{Script, TaskNumber};
use crate::connection::{Connection, Endpoint};

/// How long responses may take after the end of a load.
const DRAIN: Duration = Duration::from_secs(20);

/// The pause after a failure, so that a dead server is not flooded.
const AFTER_FAILURE: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each connection sends the next request after the response.
    Closed,
    /// This many requests a second, however long the responses take.
    Open(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    KeepAlive,
    /// Each request on a new connection, including the handshake.
    NewEach,
}

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub connections: usize,
    pub pace: Pace,
    pub reuse: Reuse,
}

/// The time in which responses are counted.
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

/// A request that got the expected response.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub task: Option<TaskNumber>,
    pub at: Instant,
    pub latency_us: u32,
    /// Whether the response came within the window.
    pub counts: bool,
}

/// The results of a load.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answered: Vec<Answered>,
    pub failures: usize,
    pub first_failure: Option<String>,
}

/// A running load.
pub struct Running {
    clients: JoinSet<Vec<Answered>>,
    plan: Arc<Plan>,
}

/// The data that all clients of a load share.
struct Plan {
    endpoint: Endpoint,
    script: Script,
    load: Load,
    window: Window,
    begin: Instant,
    next: AtomicUsize,
    /// One permit for each request that is due, if the pace is open.
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

    /// Starts the load now. It ends with the window.
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
    /// Waits until every client has finished.
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
    /// Adds a permit for each request that is due. Uses a thread, because its sleep is exact to a
    /// tenth of a millisecond, and Tokio's clock only to a whole one.
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

    /// Returns the number of the next request, and the time from which it counts. `None` at the
    /// end.
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

/// Returns when the `nth` request is due, counted from 1.
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

/// Returns the connection if it can be used for another request.
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
