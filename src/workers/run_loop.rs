//! The loop that all workers share: a bounded step, then a wait for the wake-up.

use std::fmt::Display;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The work that is left after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more to do at once.
    More,
    /// There is nothing to do until the wake-up.
    Idle,
    /// Nobody needs the work now, or it was cut off by the end of the process. This says nothing
    /// about whether it would work.
    Unneeded,
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
    let mut failures = Failures::of(W::WORK);
    while !stop.is_cancelled() {
        let stepped = worker.tick(stop).await;
        if !matches!(stepped, Ok(Progress::Unneeded)) {
            failures.note(&stepped);
        }
        match stepped {
            Ok(Progress::More) => {}
            Ok(Progress::Idle | Progress::Unneeded) => {
                stop.run_until_cancelled(worker.wake_up()).await;
            }
            Ok(Progress::Over) => return stop.cancelled().await,
            Err(_) => {
                stop.run_until_cancelled(pause(W::BACK_OFF)).await;
            }
        }
    }
}

/// Logs the first of several failures in a row, and the end of the failures.
pub struct Failures {
    work: &'static str,
    is_failing: bool,
}

impl Failures {
    /// `work` is a noun phrase, as `Worker::WORK`.
    pub const fn of(work: &'static str) -> Self {
        Self {
            work,
            is_failing: false,
        }
    }

    pub fn note<T>(&mut self, result: &Result<T, impl Display>) {
        let (work, was_failing) = (self.work, self.is_failing);
        self.is_failing = result.is_err();
        match result {
            Err(error) if !was_failing => {
                warn!(error = %error, "{work} failed, and is tried again: {error}");
            }
            Ok(_) if was_failing => info!("{work} works again"),
            Ok(_) | Err(_) => {}
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use Progress::{Idle, More, Over, Unneeded};
    use futures_util::FutureExt as _;

    use super::*;

    type Step = Result<Progress, &'static str>;

    const FAILED: Step = Err("away");

    /// A worker whose steps end as listed. It stops the loop after the last one.
    struct Scripted<'a> {
        steps: VecDeque<Step>,
        /// Whether a wake-up comes at once, or never.
        is_woken: bool,
        is_finished: &'a AtomicBool,
    }

    impl Worker for Scripted<'_> {
        const WORK: &'static str = "the script";
        const BACK_OFF: Duration = Duration::from_millis(1);
        type Error = &'static str;

        async fn tick(&mut self, stop: &CancellationToken) -> Step {
            self.steps.pop_front().unwrap_or_else(|| {
                stop.cancel();
                Ok(Unneeded)
            })
        }

        async fn wake_up(&mut self) {
            if !self.is_woken {
                std::future::pending::<()>().await;
            }
        }

        async fn finish(self) {
            self.is_finished.store(true, Ordering::Relaxed);
        }
    }

    /// Runs a worker with these steps. Returns what it logs, in order.
    async fn logged(steps: impl Into<VecDeque<Step>>) -> Vec<&'static str> {
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(Mutex::new(log.reopen().unwrap()))
            .with_ansi(false)
            .finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let worker = Scripted {
            steps: steps.into(),
            is_woken: true,
            is_finished: &AtomicBool::new(false),
        };
        run_loop(worker, CancellationToken::new()).await;
        let log = std::fs::read_to_string(log.path()).unwrap();
        let texts = [
            "the script failed, and is tried again: away",
            "the script works again",
        ];
        let named = |line: &str| texts.into_iter().find(|text| line.contains(text));
        log.lines().map(|line| named(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn the_first_of_several_failures_is_logged_and_their_end() {
        let steps = [FAILED, FAILED, Ok(Idle), Ok(More), FAILED, Ok(More)];
        let log = logged(steps).await;
        let pair = [
            "the script failed, and is tried again: away",
            "the script works again",
        ];
        assert_eq!(log, pair.repeat(2));
    }

    #[tokio::test]
    async fn a_step_that_nobody_needed_ends_no_row_of_failures() {
        let log = logged([Ok(Unneeded), FAILED, Ok(Unneeded), FAILED, Ok(Unneeded)]).await;
        assert_eq!(log, ["the script failed, and is tried again: away"]);
    }

    #[tokio::test]
    async fn a_worker_that_has_nothing_left_to_do_is_finished_when_it_is_stopped() {
        let (is_finished, stop) = (AtomicBool::new(false), CancellationToken::new());
        let worker = Scripted {
            steps: [Ok(More), Ok(Over)].into(),
            is_woken: true,
            is_finished: &is_finished,
        };
        let mut running = std::pin::pin!(run_loop(worker, stop.clone()));
        assert!(running.as_mut().now_or_never().is_none(), "it waits");
        assert!(!is_finished.load(Ordering::Relaxed));
        stop.cancel();
        assert!(running.now_or_never().is_some(), "it waits no longer");
        assert!(is_finished.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait_for_a_wake_up() {
        let (is_finished, stop) = (AtomicBool::new(false), CancellationToken::new());
        let worker = Scripted {
            steps: [Ok(Idle)].into(),
            is_woken: false,
            is_finished: &is_finished,
        };
        let mut running = std::pin::pin!(run_loop(worker, stop.clone()));
        assert!(running.as_mut().now_or_never().is_none(), "it waits");
        stop.cancel();
        assert!(running.now_or_never().is_some(), "it waits no longer");
        assert!(is_finished.load(Ordering::Relaxed));
    }
}
