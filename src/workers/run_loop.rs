//! The loop that all workers share: a bounded step, then a wait for the wake-up.

use std::fmt::Display;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What a step leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more to do at once.
    More,
    /// There is nothing to do until the wake-up.
    Idle,
    /// There is nothing to do any more.
    Over,
}

/// A worker. Each of its steps is bounded, can be repeated, and can be interrupted anywhere by the
/// end of the process.
pub trait Worker: Send {
    /// The work as a noun phrase, for the log: "… failed", "… works again".
    const WORK: &'static str;

    /// The delay before a failed step is repeated.
    const BACK_OFF: Duration;

    type Error: Display + Send;

    /// Does one step. `stop` may interrupt what can be interrupted without a loss.
    fn tick(
        &mut self,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Progress, Self::Error>> + Send;

    /// Waits until there may be something to do. Cancelling the wait loses nothing.
    fn wake_up(&mut self) -> impl Future<Output = ()> + Send;

    /// Finishes what is under way, once no more steps follow.
    fn finish(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        async {}
    }
}

/// Runs a worker until `stop`, then finishes what it has under way. The first of several failures
/// in a row is logged, and the end of the failures.
pub async fn run_loop(mut worker: impl Worker, stop: CancellationToken) {
    run_steps(&mut worker, &stop).await;
    worker.finish().await;
}

async fn run_steps<W: Worker>(worker: &mut W, stop: &CancellationToken) {
    let mut is_failing = false;
    while !stop.is_cancelled() {
        let stepped = worker.tick(stop).await;
        if let Err(error) = &stepped
            && !is_failing
        {
            warn!(error = %error, "{} failed, and is tried again: {error}", W::WORK);
        } else if stepped.is_ok() && is_failing {
            info!("{} works again", W::WORK);
        }
        is_failing = stepped.is_err();
        match stepped {
            Ok(Progress::More) => {}
            Ok(Progress::Idle) => {
                stop.run_until_cancelled(worker.wake_up()).await;
            }
            Ok(Progress::Over) => return stop.cancelled().await,
            Err(_) => {
                stop.run_until_cancelled(pause(W::BACK_OFF)).await;
            }
        }
    }
}

/// Returns the result of work that ran beside the loop. A panic in it ends the worker too. `None`
/// if the work was aborted.
pub fn joined<T>(ended: Result<T, JoinError>) -> Option<T> {
    ended
        .map_err(|error| error.try_into_panic().map(|panic| resume_unwind(panic)))
        .ok()
}

/// Waits for `interval`, varied by up to 10 %. So workers that started together do not query the
/// store at the same moment.
pub async fn pause(interval: Duration) {
    sleep(varied(interval)).await;
}

/// Varies `interval` by up to 10 %.
pub fn varied(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}
