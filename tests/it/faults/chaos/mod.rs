//! EvoLink as an attacker: the simulator uses every fault it knows, at random and all at once,
//! while apps submit and retry as real apps do. In the end every task has one outcome, the number
//! of charges equals the number of tasks, and no outcome was ever changed.
//!
//! The tests use one receiver on SQLite, and three behind a round robin on PostgreSQL. The seed
//! determines the orders and the fault of each; their timing depends on the machine.

mod orders;
mod panics;
mod reckoning;
mod stage;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use orders::{Book, Order};
use reckoning::Reckoning;
use stage::Stage;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use witness::Witness;

use crate::support::campaign::{random, rounds};
use crate::support::store::check;
use crate::support::until::until;

/// Interval between new orders.
const ORDER_EVERY: Duration = Duration::from_millis(50);

/// Time without any progress after which the test fails. After the last order the polls lag behind,
/// because a query that stalls or is answered 429 delays the others. A slow machine needs longer,
/// so this does not bound the total time.
const STALLED_AFTER: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_misbehaviour_at_once_loses_nothing_and_pays_nothing_twice() {
    let mut random = random();
    let panics = panics::counted();
    let stage = Stage::start(random.u64(..)).await;
    let witness = Witness::start(&stage);
    let book = Arc::new(Book::default());

    let lasts = Duration::from_secs(rounds(12, 600).into());
    let mut ticks = interval(ORDER_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until_then = Instant::now() + lasts;
    let mut apps = tokio::task::JoinSet::new();
    for number in 0.. {
        ticks.tick().await;
        if Instant::now() >= until_then {
            break;
        }
        let order = Order::new(number, &stage, &mut random);
        apps.spawn(order.place(Arc::clone(&book)));
    }
    apps.join_all().await;

    let settling = Instant::now();
    let mut progress = (usize::MAX, settling);
    let reckoning = loop {
        let reckoning = Reckoning::of(&stage, &book).await;
        let left = reckoning.faults.len();
        if left < progress.0 {
            progress = (left, Instant::now());
        }
        if left == 0 || progress.1.elapsed() > STALLED_AFTER {
            break reckoning;
        }
        sleep(Duration::from_millis(500)).await;
    };
    let settled_after = settling.elapsed();
    println!("{reckoning}; settled after {settled_after:.1?}");
    let wrong = reckoning.faults.len();
    let some = &reckoning.faults[..wrong.min(5)];
    assert_eq!(wrong, 0, "such as {some:#?}");
    let broken = check::faults(&stage.apps[0].store, &[]).await;
    assert!(broken.is_empty(), "{broken:#?}");
    let looks = witness.assert_nothing_changed(&stage).await;
    println!("{looks} outcomes seen again, none changed");
    for app in &stage.apps {
        // EvoLink still sends callbacks. Once the two counters are equal, do not compare them
        // again.
        until("each callback that began has ended in one way", || {
            app.callbacks_ended() == app.callbacks_received()
        })
        .await;
    }
    stage.assert_well().await;
    assert_eq!(panics(), 0, "panics");
}
