//! Delivers outcomes: offers each delivery to its endpoint until that takes it, or it is dead.
//!
//! One look finds for which endpoints something is due, each endpoint has a lane of its own, and attempts run beside both: no
//! endpoint waits for another. An attempt is ours alone by the lease of its delivery, and what came of it takes the recorder's
//! path, like everything that is written. If this process dies, whoever finds the delivery next sends it again.

mod answer;
mod attempt;
mod lanes;
mod look;
mod request;

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use super::breaker::Change;
use super::pause;
use crate::clock::Clock;
use crate::domain::delivery::{EndpointKey, Holder};
use crate::egress::Egress;
use crate::metrics::Metrics;
use crate::signing_files::SigningFiles;
use crate::store::Store;
use crate::store::recorder::Recorder;
use crate::store::wake::{LOOK_INTERVAL, Waiter};
use attempt::Ended;
use lanes::Lanes;

/// How long it rests after the store failed it.
const BACK_OFF: Duration = Duration::from_secs(5);

/// What a forwarder works with.
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub egress: Egress,
    pub signing_files: Arc<SigningFiles>,
    /// The standing endpoints.
    pub endpoints: HashMap<EndpointKey, Url>,
    pub clock: Clock,
    pub metrics: Metrics,
    /// As which this process takes deliveries: the one by which the recorder makes them.
    pub holder: Holder,
    /// Attempts under way at most, all endpoints together.
    pub at_once: usize,
    /// No attempt is begun any more.
    pub stop: CancellationToken,
    /// Attempts under way are not waited for any longer.
    pub giving_up: CancellationToken,
}

#[derive(Debug)]
pub struct Forwarder {
    parts: Parts,
    /// As last seen. The recorder knows better.
    disabled: Mutex<HashSet<EndpointKey>>,
}

/// When to look again.
struct Next {
    /// Looks do not take more than half of the time, however many endpoints there are.
    not_before: Instant,
    due: Instant,
}

impl Forwarder {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            disabled: Mutex::default(),
        }
    }

    /// Works until `stop`, then ends what is under way.
    pub async fn run(self) {
        let this = Arc::new(self);
        let stop = this.parts.stop.clone();
        let mut lanes = Lanes::new(this.parts.at_once);
        let mut attempts = JoinSet::new();
        let mut waiter = this.parts.store.wake().waiter();
        let mut next = this.look(&mut lanes).await;
        while !stop.is_cancelled() {
            this.begin(&mut lanes, &mut attempts).await;
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = attempts.join_next() => {
                    this.end(&mut lanes, ended);
                    while let Some(ended) = attempts.try_join_next() {
                        this.end(&mut lanes, ended);
                    }
                }
                () = next.wait(&mut waiter) => {
                    next = this.look(&mut lanes).await;
                }
            }
        }
        while let Some(ended) = attempts.join_next().await {
            this.end(&mut lanes, ended);
        }
    }

    /// Finds what there is to do.
    async fn look(&self, lanes: &mut Lanes) -> Next {
        let began = Instant::now();
        let looking = self.parts.stop.run_until_cancelled(self.try_look(lanes));
        let (rest, due_in) = match looking.await {
            Some(Ok(due_in)) => (began.elapsed(), due_in),
            Some(Err(error)) => {
                error!(error = %error, "the forwarder could not look for deliveries");
                (pause(BACK_OFF), LOOK_INTERVAL)
            }
            None => (Duration::ZERO, LOOK_INTERVAL),
        };
        let now = Instant::now();
        Next {
            not_before: now + rest,
            due: now + due_in,
        }
    }

    /// Begins all that there is room for. It ends: a lane that was looked for has something, or there is nothing more for it.
    async fn begin(self: &Arc<Self>, lanes: &mut Lanes, attempts: &mut JoinSet<Ended>) {
        loop {
            while let Some((delivery, leave)) = lanes.next(self.parts.clock.now()) {
                let this = Arc::clone(self);
                attempts.spawn(async move { this.attempt(delivery, leave).await });
            }
            if !self.fill_lanes(lanes).await {
                return;
            }
        }
    }

    fn end(&self, lanes: &mut Lanes, ended: Result<Ended, JoinError>) {
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => return,
            },
        };
        let endpoint = &ended.endpoint;
        match lanes.end(&ended, self.parts.clock.now()) {
            Some(Change::Opened) => {
                warn!(endpoint = %endpoint, "an endpoint takes nothing: it is tried with one delivery at a time, until it does");
            }
            Some(Change::Closed) => {
                info!(endpoint = %endpoint, "an endpoint takes deliveries again");
            }
            None => {}
        }
    }

    fn disabled(&self) -> MutexGuard<'_, HashSet<EndpointKey>> {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Next {
    /// Returns when there may be something to do. What is cut off here is not lost.
    async fn wait(&self, waiter: &mut Waiter) {
        sleep_until(self.not_before).await;
        tokio::select! {
            () = waiter.wait() => {}
            () = sleep_until(self.due) => {}
        }
    }
}
