//! I32 across replicas: a query that waits at one replica is answered when another receives the
//! callback. With notifications cut off, a poll of the store every second finds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evolink_receiver::store::wake::POLL_INTERVAL;
use tokio::time::sleep;

use super::wake::{LISTENS, TERMINATE};
use crate::replica_faults::sessions;
use crate::support::app::wait_races::{LANES, assert_woken, races, rounds};
use crate::support::app::waiting::TOLD_WITHIN;
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::store::TestStore;
use crate::support::store::database::Database;

/// Queries that a poll of the store must answer, one after the other.
const LOOKS: usize = 5;

/// Limit on races, until `LOOKS` of them were decided by a poll of the store. In many races the
/// callback arrives a few milliseconds before its query, but not in all of this many.
const RACES_ALONE_MAX: usize = 200;

/// Terminates the sessions that listen, again and again, until `stop` is set. Returns how many
/// there were.
async fn cut_again_and_again(database: Database, stop: Arc<AtomicBool>) -> usize {
    let count = format!("WITH cut AS ({TERMINATE}) SELECT count(*) FROM cut");
    let mut cut = 0;
    while !stop.load(Ordering::Relaxed) {
        cut += usize::try_from(database.value::<i64>(&count, &[]).await).unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    database.close().await;
    cut
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i32_a_waiter_at_one_replica_is_notified_of_a_callback_at_another() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let builder = TestAppBuilder::new(tempfile::tempdir().unwrap(), store);
    let here = builder.clone().start().await;
    let there = builder.start().await;
    let database = here.database().await;
    sessions::until_there_are(&database, LISTENS, |count| count == 2).await;
    assert_woken(&here, &there, rounds(), "replicas").await;

    let stop = Arc::new(AtomicBool::new(false));
    let cutting = tokio::spawn(cut_again_and_again(
        here.database().await,
        Arc::clone(&stop),
    ));
    let took = races(&here, &there, rounds().min(500), LANES, "cut").await;
    stop.store(true, Ordering::Relaxed);
    let cut = cutting.await.unwrap();
    println!("{cut} sessions that listened were cut off");
    assert!(cut > 2 && *took.last().unwrap() < TOLD_WITHIN);

    // No new connection is allowed, so no receiver can listen.
    here.store.let_in(false).await;
    database.execute(TERMINATE).await;
    sessions::until_there_are(&database, LISTENS, |count| count == 0).await;
    found_by_looks(&here, &there).await;

    here.store.let_in(true).await;
    is_listened_by_both(&database).await;
    assert_woken(&here, &there, 200, "again").await;
    database.close().await;
    here.stop().await.0.unwrap();
    there.stop().await.0.unwrap();
}

async fn is_listened_by_both(database: &Database) {
    sessions::until_there_are(database, LISTENS, |count| count == 2).await;
}

/// Queries answered sooner arrived after their callback, or just before a poll of the store.
async fn found_by_looks(here: &TestApp, there: &TestApp) {
    let mut looks = 0;
    for number in 0..RACES_ALONE_MAX {
        let took = races(here, there, 1, 1, &format!("alone-{number}")).await[0];
        assert!(took < TOLD_WITHIN, "{took:?}");
        looks += usize::from(took > POLL_INTERVAL / 20);
        if looks == LOOKS {
            return;
        }
    }
    panic!("something woke them: {looks} were found by a look");
}
