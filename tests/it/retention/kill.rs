//! SIGKILL while the janitor works: each batch was deleted whole, or not at all.

use std::time::Duration;

use evolink_receiver::clock::Clock;
use tokio::time::{Instant, sleep};

use super::{DAY, Desk, assert_whole};
use crate::support::campaign::{random, rounds};
use crate::support::process::Place;
use crate::support::until::PATIENCE;

const TASKS: usize = 1500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigkill_in_a_batch_nothing_is_half_deleted() {
    let mut random = random();
    let place = Place::new();
    // The first start makes the key ring.
    place.start().await.kill();
    let long_ago = Clock::System.now().before(DAY * 100);
    let desk = Desk::of(place.store(), Clock::manual(long_ago)).await;
    let names: Vec<String> = (0..TASKS).map(|n| format!("task-{n}")).collect();
    for names in names.chunks(64) {
        let making = names.iter().map(|name| desk.failed(name));
        futures_util::future::join_all(making).await;
    }
    // As if they had been delivered, and as if the service had run until now.
    let now = Clock::System.now().as_millis();
    desk.database
        .execute(&format!(
            "UPDATE delivery SET state = 'delivered', ended_at = made_at, holder = NULL, lease_until = NULL;
            UPDATE janitor SET ran_at = {now} - 3600000"
        ))
        .await;
    desk.close().await;
    let database = place.store().connect().await;
    let left = async || {
        database
            .value::<i64>("SELECT count(*) FROM task", &[])
            .await
    };
    // The lease of a killed process ends after minutes.
    let end_lease = "UPDATE janitor SET lease_until = 1 WHERE holder IS NOT NULL";
    for _ in 0..rounds(6, 60) {
        database.execute(end_lease).await;
        let mut receiver = place.start().await;
        sleep(Duration::from_millis(random.u64(..300))).await;
        receiver.kill();
        assert_whole(&database).await;
        if left().await == 1 {
            break;
        }
    }
    database.execute(end_lease).await;
    let mut receiver = place.start().await;
    let deadline = Instant::now() + PATIENCE;
    while left().await > 1 {
        assert!(Instant::now() < deadline, "old tasks are left");
        sleep(Duration::from_millis(50)).await;
    }
    receiver.kill();
    assert_whole(&database).await;
}
