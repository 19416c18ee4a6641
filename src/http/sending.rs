//! Sends a submit to EvoLink. What is known not to have been sent, since there was no connection to send it on, is tried
//! again for a short while. Nothing else ever is: it may have been accepted, and charged.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::internal::InternalState;
use super::presence::Absence;
use crate::domain::ids::SubmissionId;
use crate::evolink::SubmitReply;

/// For how long it is tried again. The app waits, and a second request with its `Idempotency-Key` waits longer than this.
const RETRY_FOR: Duration = Duration::from_secs(4);

/// After about so long for the first time, then after longer, each by chance up to twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// EvoLink's reply, to one request at most. Not tried again once the process is to stop or the app
/// is absent.
pub async fn send(
    state: &InternalState,
    body: &(impl Serialize + Sync),
    id: SubmissionId,
    absence: &Absence,
) -> SubmitReply {
    let deadline = Instant::now() + RETRY_FOR.min(state.evolink_timeout);
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_max_times(usize::MAX)
        .with_jitter()
        .build()
        .take_while(|pause| Instant::now() + *pause < deadline);
    loop {
        let reply = state.evolink.submit(body, id).await;
        let SubmitReply::Unreachable { reason } = &reply else {
            return reply;
        };
        let Some(pause) = pauses.next() else {
            return reply;
        };
        let pausing = absence.run_until_cancelled(sleep(pause));
        let is_over = state.stopping.run_until_cancelled(pausing).await;
        if is_over.flatten().is_none() {
            return reply;
        }
        info!(submission.id = %id, reason, "EvoLink was not reached and nothing was sent: once more");
        state.metrics.submit_retried();
    }
}
