//! Threads of low priority for work that moves many bytes. When processors are short, the system
//! gives such a thread about a third of the time of another one. So a callback hardly waits for a
//! file.

use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

/// The threads have the niceness of the process, usually 0, plus this. With more, a busy machine
/// would give transfers so little time that they count as too slow.
const NICENESS: i32 = 5;
const NICENESS_MAX: i32 = 19;

/// Files are written on further threads, so a few are enough on a large machine, too.
const WORKERS_MAX: usize = 4;

/// A handle of the threads. Cheap to clone. They end when the last copy is dropped.
#[derive(Clone, Debug)]
pub struct Background {
    handle: Handle,
    threads: Arc<Threads>,
}

/// Owns the runtime until it is stopped.
#[derive(Debug)]
struct Threads(Mutex<Option<Runtime>>);

impl Background {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system grants no further descriptors.
    ///
    /// # Panics
    /// If the system grants no further threads.
    pub fn start() -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, usize::from);
        // A thread begins with the niceness of the one that starts it, and any may start one.
        let niceness = getpriority_process(None).unwrap_or(0) + NICENESS;
        let runtime = Builder::new_multi_thread()
            .worker_threads(processors.min(WORKERS_MAX))
            .enable_all()
            .thread_name("background")
            // If this fails, all works, but callbacks may wait for files.
            .on_thread_start(move || {
                let _ = setpriority_process(None, niceness.min(NICENESS_MAX));
            })
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            threads: Arc::new(Threads(Mutex::new(Some(runtime)))),
        })
    }

    /// Runs `work` on the threads. If the future is dropped, `work` is dropped soon afterwards.
    ///
    /// # Panics
    /// If `work` panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match AbortOnDropHandle::new(self.handle.spawn(work)).await {
            Ok(done) => done,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_stopped) => pending().await,
            },
        }
    }

    /// Stops the threads, and waits up to `limit` for the writes that are under way on them. The
    /// work that is left does not end.
    pub async fn stop(&self, limit: Duration) {
        if let Some(runtime) = self.threads.take() {
            // It waits in a blocking way. If that panics, there is nothing left to wait for.
            let stopping = spawn_blocking(move || runtime.shutdown_timeout(limit));
            drop(stopping.await);
        }
    }
}

impl Threads {
    fn take(&self) -> Option<Runtime> {
        let mut runtime = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.take()
    }
}

impl Drop for Threads {
    /// A runtime that is dropped in an async task panics, because it waits for its threads.
    fn drop(&mut self) {
        if let Some(runtime) = self.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn work_and_what_blocks_in_it_run_at_a_lower_priority() {
        let ours = getpriority_process(None).unwrap();
        let background = Background::start().unwrap();
        let niceness = || getpriority_process(None).unwrap();
        let (working, blocking) = background
            .run(async move {
                let blocking = tokio::task::spawn_blocking(niceness);
                (niceness(), blocking.await.unwrap())
            })
            .await;
        assert_eq!(working, (ours + NICENESS).min(NICENESS_MAX));
        assert_eq!(blocking, working);
        assert_eq!(niceness(), ours, "this thread keeps its priority");
    }

    #[tokio::test]
    async fn a_panic_of_the_work_is_passed_on() {
        let background = Background::start().unwrap();
        let work = background.run(async { panic!("it broke") });
        let panicked: Result<(), _> = AssertUnwindSafe(work).catch_unwind().await;
        let panicked = panicked.unwrap_err();
        assert_eq!(panicked.downcast_ref::<&str>(), Some(&"it broke"));
    }

    #[tokio::test]
    async fn work_ends_when_nobody_waits_for_it_any_more() {
        let background = Background::start().unwrap();
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let work = background.run(async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        drop(tokio::time::timeout(Duration::from_millis(1), work).await);
        ended.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_stop_waits_for_what_blocks() {
        let background = Background::start().unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (done, is_done) = std::sync::mpsc::channel();
        let work = background.run(async move {
            let writing = spawn_blocking(move || {
                let _ = begun.send(());
                std::thread::sleep(Duration::from_millis(100));
                let _ = done.send(());
            });
            writing.await
        });
        tokio::select! {
            _ = work => panic!("it ended"),
            begun = has_begun => begun.unwrap(),
        }
        background.stop(Duration::from_mins(1)).await;
        is_done.try_recv().unwrap();
    }
}
