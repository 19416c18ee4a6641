//! A running service tests itself at intervals, and reports what changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::evolink::RateLimits;
use crate::observe::metrics::Metrics;
use crate::self_test::{LastSelfTest, SelfTest, Step, StepState, Tested};
use crate::workers::run_loop::{Progress, Worker, pause};

pub struct SelfTester {
    pub test: SelfTest,
    pub every: Duration,
    pub rate_limits: Arc<RateLimits>,
    pub metrics: Metrics,
    pub last: LastSelfTest,
}

impl SelfTester {
    fn report(&self, steps: Vec<Step>) {
        let before = self.last.load();
        let before = before.as_ref().map_or(&[][..], |tested| &tested.steps);
        let at = self.test.clock.wall_now();
        for step in &steps {
            let name = step.name.into_str();
            self.metrics.self_tested(name, step.state == StepState::Ok);
            let last = before.iter().find(|last| last.name == step.name);
            let was_failing = last.is_some_and(|last| last.state == StepState::Failing);
            let message = &step.message;
            match step.state {
                StepState::Failing if !was_failing => {
                    warn!(step = name, "the self-test {name} fails: {message}");
                }
                StepState::Ok if was_failing => {
                    info!(step = name, "the self-test {name} is good again: {message}");
                }
                StepState::Ok | StepState::Failing | StepState::Skipped => {}
            }
        }
        self.metrics.self_tested_at(at);
        self.last.store(Tested { at, steps });
    }
}

impl Worker for SelfTester {
    const WORK: &'static str = "the self-test";
    const BACK_OFF: Duration = Duration::from_mins(1);
    type Error = Infallible;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, Infallible> {
        self.rate_limits.count_read();
        let Some(steps) = stop.run_until_cancelled(self.test.run()).await else {
            return Ok(Progress::Unneeded);
        };
        self.report(steps);
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        pause(self.every).await;
    }
}
