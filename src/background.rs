//! Threads for work that moves many bytes. The system runs them only when no other thread of this
//! process wants the processor, so that a callback need not wait for a file.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use rustix::process::nice;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// Added to the niceness of the threads, which is 0 usually and 19 at most.
const NICENESS: i32 = 10;

/// The threads. They end with the last copy.
#[derive(Clone, Debug)]
pub struct Background {
    handle: Handle,
    _threads: Arc<Threads>,
}

/// Has the runtime until it is dropped.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Background {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system starts no threads.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("background")
            // Without the lower priority all works, only less smoothly.
            .on_thread_start(|| {
                let _ = nice(NICENESS);
            })
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            _threads: Arc::new(Threads(Some(runtime))),
        })
    }

    /// Runs `work` on the threads. If the result is dropped, `work` is dropped soon afterwards.
    ///
    /// # Panics
    /// If `work` panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match AbortOnDropHandle::new(self.handle.spawn(work)).await {
            Ok(done) => done,
            Err(ended) => resume_unwind(ended.into_panic()),
        }
    }
}

impl Drop for Threads {
    /// A runtime that is dropped in an async task panics, because it waits for its threads.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

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
        assert_eq!(working, (ours + NICENESS).min(19));
        assert_eq!(blocking, working);
        assert_eq!(niceness(), ours, "this thread keeps its priority");
    }

    #[tokio::test]
    #[should_panic(expected = "it broke")]
    async fn a_panic_of_the_work_is_passed_on() {
        let background = Background::start().unwrap();
        background.run(async { panic!("it broke") }).await
    }
}
