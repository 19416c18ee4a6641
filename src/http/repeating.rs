//! Decides what the repeat guard cannot decide at once: whether the app of an equal submit still
//! waits. Usually the guard knows, and nothing here runs.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::internal::InternalState;
use crate::domain::delivery::Holder;
use crate::domain::ids::SubmissionId;
use crate::store::StoreError;
use crate::store::repeats::DEAD_AFTER;

/// Time to notice that a connection was closed. An app that disconnects and reconnects at once may
/// be faster than the end of its first connection.
const GRACE: Duration = Duration::from_millis(50);

/// Interval at which the rows of other processes are read. Each process touches the rows of its
/// long-waiting submits every second.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Time after which the reading stops. A process that appeared too late to be judged by then is
/// judged in the next call.
const LOOKS_END_AFTER: Duration = Duration::from_secs(10);

/// Observations of the rows of one process.
struct Watched {
    beats: HashMap<SubmissionId, i64>,
    since: Instant,
    is_alive: bool,
}

/// Determines which of the processes that hold waiting apps of equal submits are alive.
///
/// A process is alive if it touches a row, and dead if it touches none for `DEAD_AFTER`. Only this
/// process measures the time, because the clocks of others may differ.
pub async fn judge_holders(
    state: &InternalState,
    client: &str,
    fingerprint: &[u8; 32],
    window: Duration,
) -> Result<Vec<(Holder, bool)>, StoreError> {
    sleep(GRACE).await;
    if !state.store.is_shared() {
        return Ok(Vec::new());
    }
    let oldest = SubmissionId::first_at(state.clock.now().before(window));
    let (began, apps) = (Instant::now(), state.recorder.apps());
    let mut holders: HashMap<Holder, Watched> = HashMap::new();
    loop {
        let rows = state
            .store
            .waiting_submits(client, fingerprint, oldest)
            .await?;
        let mut is_open = false;
        for (id, holder, beats) in rows {
            if apps.is_waiting(id) || apps.has_answer(id) {
                continue;
            }
            let watched = holders.entry(holder).or_insert_with(|| Watched {
                beats: HashMap::new(),
                since: Instant::now(),
                is_alive: false,
            });
            watched.is_alive |= *watched.beats.entry(id).or_insert(beats) != beats;
            is_open |= !watched.is_alive && watched.since.elapsed() < DEAD_AFTER;
        }
        if !is_open || began.elapsed() >= LOOKS_END_AFTER {
            break;
        }
        sleep(LOOK_INTERVAL).await;
    }
    let judged = holders.into_iter().filter_map(|(holder, watched)| {
        let is_known = watched.is_alive || watched.since.elapsed() >= DEAD_AFTER;
        is_known.then_some((holder, watched.is_alive))
    });
    Ok(judged.collect())
}
