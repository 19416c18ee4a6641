//! Notices when outcomes are found by polling only: then callbacks do not arrive.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::observe::callback_path::CallbackPath;
use crate::observe::callback_path::causes::{Facts, likely_causes};
use crate::store::read::told::{Finding, Untold};
use crate::store::{Store, StoreError};
use crate::workers::run_loop::{Progress, Worker, pause};

const INTERVAL: Duration = Duration::from_secs(5);

/// So many outcomes in a row. A callback may be lost now and then, for example during a deploy.
const OUTCOMES: u32 = 5;

/// A callback that comes after the poll counts, too. EvoLink calls again for seven seconds.
const GRACE: Duration = Duration::from_secs(30);

pub struct PollOnlyWatch {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub callback_path: CallbackPath,
    /// What is known of the configuration and the certificate now.
    pub facts: Box<dyn Fn() -> Facts + Send>,
}

impl PollOnlyWatch {
    fn why(&self, untold: Untold) -> String {
        let causes = likely_causes(&self.callback_path.seen(), &(self.facts)());
        format!(
            "the last {} outcomes, since {}, were found by polling, and no callback told of them: {causes}",
            untold.outcomes, untold.since
        )
    }
}

impl Worker for PollOnlyWatch {
    const WORK: &'static str = "the watch of the sources of outcomes";
    const BACK_OFF: Duration = INTERVAL;
    type Error = StoreError;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, StoreError> {
        let until = self.clock.now().before(GRACE);
        let finding = self.store.find_untold(OUTCOMES, until);
        let Some(untold) = stop.run_until_cancelled(finding).await else {
            return Ok(Progress::Unneeded);
        };
        let why = match untold? {
            // It stays as it was.
            Finding::TooFew => return Ok(Progress::Idle),
            Finding::Reported => None,
            Finding::Untold(untold) => Some(self.why(untold)),
        };
        self.callback_path.set_poll_only(why);
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        pause(INTERVAL).await;
    }
}
