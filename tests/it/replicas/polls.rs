//! All replicas look for overdue tasks, and each task is asked about by one of them.

use std::time::Duration;

use tokio::time::sleep;

use super::Replicas;
use crate::support::until::until;

/// Many, so that replicas meet at some of them.
const TASKS: usize = 40;

/// Three looks of a reconciler: enough for a second question to come.
const SOME_TICKS: Duration = Duration::from_millis(1800);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_overdue_task_is_asked_about_by_one_of_three() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    for number in 0..TASKS {
        replicas.submit(number % 3).await;
    }
    let queries = || replicas.simulator.queries().len();
    assert_eq!(queries(), 0, "before its time");
    replicas.apps[0].clock.advance(Duration::from_secs(15));
    until("the polls", || queries() >= TASKS).await;
    sleep(SOME_TICKS).await;
    // They were answered 500, and the next is due in 3 s, which this clock does not reach.
    assert_eq!(queries(), TASKS);
    replicas.assert_well().await;
}
