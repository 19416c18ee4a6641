//! Sends a submit to EvoLink. If no connection could be made, nothing was sent, and it is retried
//! for a short while. Nothing else is ever retried, because EvoLink may have accepted and charged
//! the submit.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::domain::ids::SubmissionId;
use crate::evolink::SubmitReply;
use crate::http::internal::InternalState;
use crate::http::internal::submits::presence::Absence;

/// How long it is retried. The app is waiting, and a second request with the same `Idempotency-Key`
/// waits longer than this.
const RETRY_FOR: Duration = Duration::from_secs(4);

/// Range of the growing pauses between attempts. Jitter makes each up to twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Returns EvoLink's reply. At most one request reaches EvoLink. Stops retrying once the process is
/// stopping or the app has disconnected.
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
