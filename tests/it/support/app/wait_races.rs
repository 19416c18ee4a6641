//! Races between a waiting query and the callback that ends it.

use std::time::Duration;

use evolink_receiver::store::wake::POLL_INTERVAL;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::running::TestApp;
use super::waiting::{LONG_WAIT, asking, body, send, told};
use crate::support::campaign;

/// Number of races: a sample in each run, many more in `./test --long`.
pub fn rounds() -> usize {
    campaign::rounds(500, 10_000).try_into().unwrap()
}

/// Maximum number of series of races. One series without a late answer is enough.
const SERIES: usize = 3;

/// Concurrent races.
pub const LANES: usize = 8;

/// One of the two sides starts up to this much earlier than the other.
const HEAD_START: Duration = Duration::from_millis(3);

/// The time to the answer, from the acknowledgement of the callback or from the start of the query,
/// whichever is later.
async fn race(asked: &TestApp, called: &TestApp, id: &str) -> Duration {
    told(called, id, "processing").await;
    let path = format!("/v1/tasks/{id}?wait={LONG_WAIT}");
    let head_start = HEAD_START.mul_f64(fastrand::f64());
    let query_first = fastrand::bool();
    let start = Instant::now();
    let asking = async {
        if !query_first {
            sleep(head_start).await;
        }
        let answer = send(asking(asked, &path)).await;
        (answer, Instant::now())
    };
    let calling = async {
        if query_first {
            sleep(head_start).await;
        }
        let token = called.standing_token("shop");
        let result = called.callback_result(&token, body(id, "completed")).await;
        assert_eq!(result, "recorded");
        Instant::now()
    };
    let ((answer, answered), acknowledged) = tokio::join!(asking, calling);
    answer.assert_told("completed");
    answered.saturating_duration_since(acknowledged.max(start))
}

/// Races queries at `asked` against callbacks at `called`. Returns how long after the
/// acknowledgements the answers came.
pub async fn races(
    asked: &TestApp,
    called: &TestApp,
    rounds: usize,
    lanes: usize,
    name: &str,
) -> Vec<Duration> {
    let lanes = (0..lanes).map(async |lane| {
        let mut took = Vec::new();
        for round in (lane..rounds).step_by(lanes) {
            let id = format!("task-{name}-{round}");
            took.push(race(asked, called, &id).await);
        }
        took
    });
    let mut took = join_all(lanes).await.concat();
    took.sort();
    let at = |part: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank"
        )]
        let rank = (took.len() as f64 * part) as usize;
        took[rank.min(took.len() - 1)]
    };
    println!(
        "{name}: {} races, p50 {:?}, p99 {:?}, max {:?}",
        took.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    took
}

/// A lost wake-up is found only by the poll that happens each second, so its answer is late.
///
/// A gap in the notifications shows in every series. A busy machine that stalls for a moment makes
/// all lanes late at once, but not in every series.
pub async fn assert_woken(asked: &TestApp, called: &TestApp, rounds: usize, name: &str) {
    let mut late = 0;
    for series in 0..SERIES {
        let name = format!("{name}-{series}");
        let took = races(asked, called, rounds, LANES, &name).await;
        late = took
            .iter()
            .filter(|took| **took >= POLL_INTERVAL / 2)
            .count();
        if late * 50 < took.len() {
            return;
        }
    }
    panic!("{name}: {late} of {rounds} wake-ups are lost, and not fewer before");
}
