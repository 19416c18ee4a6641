//! What the repeat guard cannot tell at once: whether the app of an equal submit still waits.
//! Usually the guard knows, and nothing here runs.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::internal::InternalState;
use crate::domain::delivery::Holder;
use crate::domain::ids::SubmissionId;
use crate::store::StoreError;
use crate::store::repeats::DEAD_AFTER;

/// An app that has disconnected and connected again at once may be faster than the end of its first
/// connection.
const GRACE: Duration = Duration::from_millis(50);

/// How often the rows of another process are read. It touches those that wait for long each second.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// After this a process that appeared meanwhile is left to the next look.
const LOOKS_END_AFTER: Duration = Duration::from_secs(10);

/// How far the rows of one process were followed.
struct Watched {
    beats: HashMap<SubmissionId, i64>,
    since: Instant,
    is_alive: bool,
}

/// Finds out whether the processes live at which the apps of equal submits wait. One lives if it
/// touches a row, and is dead if it touches none for `DEAD_AFTER`. By the time of this process
/// alone: clocks of others may differ.
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
