//! Events become visible in the order of their numbers, whichever replica records them, and no
//! number is skipped. A reader that continues after the last event it saw misses none, and can
//! verify that.

use std::sync::Arc;

use evolink_receiver::store::recorder::Recorder;
use tokio::task::JoinSet;

use crate::replica_faults::follower::Follower;
use crate::support::campaign::rounds;
use crate::support::recorder::entry::completed;
use crate::support::recorder::recording::Recording;
use crate::support::store::database::Refused;
use crate::support::store::{TestStore, check};

/// Callers for each recorder: enough that the batches of all recorders follow each other without a
/// pause.
const CALLERS_EACH: usize = 8;

/// The word that makes the database refuse a body, together with its batch.
const REFUSED: &str = "task-refused";

/// One in this many bodies is refused.
const REFUSED_EVERY: u32 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_event_becomes_visible_behind_a_later_one() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let each = rounds(150, 2000);
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Arc::new(Recording::start(store.url()).await));
    }
    let mut follower = Follower::start(store.url());
    let database = store.connect().await;
    let refused = Refused::ObservationsWith(REFUSED);
    database.refuse(refused, "ABORT").await;
    let mut callers = JoinSet::new();
    for (at, replica) in replicas.iter().enumerate() {
        for caller in 0..CALLERS_EACH {
            let recorder = replica.recorder.clone();
            callers.spawn(record(recorder, format!("{at}-{caller}"), each));
        }
    }
    callers.join_all().await;
    for replica in replicas {
        Arc::into_inner(replica).unwrap().end().await;
    }
    follower.assert_saw_all(&database).await;
    let events: i64 = database.value("SELECT count(*) FROM event", &[]).await;
    let newest: i64 = database.value("SELECT max(seq) FROM event", &[]).await;
    assert_eq!(newest, events, "there are numbers without an event");
    assert_eq!(
        events,
        3 * i64::try_from(CALLERS_EACH).unwrap() * i64::from(each)
    );
    let faults = check::faults(&store, &[]).await;
    assert!(faults.is_empty(), "{faults:#?}");
    println!("{events} events of three recorders, each seen in its place");
}

async fn record(recorder: Recorder, caller: String, count: u32) {
    for number in 0..count {
        if number % REFUSED_EVERY == 7 {
            let refused = completed(&format!("{REFUSED}-{caller}-{number}"));
            let receipt = recorder.record(refused).await;
            assert!(receipt.is_err(), "{receipt:?}");
        }
        let entry = completed(&format!("task-{caller}-{number}"));
        let receipt = recorder.record(entry).await;
        assert!(receipt.is_ok(), "{receipt:?}");
    }
}
