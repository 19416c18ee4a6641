//! A log that cannot be read, that can be read only in part, or that lost events: no reader waits
//! for ever.

use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::tail::RingReader;
use evolink_receiver::store::tail::{Follower, Next};
use evolink_receiver::workers::run_loop::run_loop;
use evolink_receiver::workers::upkeep::log::LogFollower;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{log, post, seqs};
use crate::support::app::TestApp;
use crate::support::app::answer::get;
use crate::support::events::reader::SseReader;
use crate::support::events::seen::seq;
use crate::support::recorder::recording::Recording;
use crate::support::store::TestStore;
use crate::support::until::PATIENCE;

const UNREADABLE: &str = "evolink_receiver_events_unreadable_total";

/// A task row with values that this program cannot have written.
const SPOIL: &str = "UPDATE task SET submission_id = 'zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz' WHERE task_id = 'task-1'";

const TELL_OF_IT: &str = "INSERT INTO event (seq, task_seq, type, at) \
    SELECT 4, seq, 'task.processing', 0 FROM task WHERE task_id = 'task-1'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_event_is_left_out_and_the_following_ones_are_sent() {
    let app = TestApp::start().await;
    post(&app, 0..3, "processing").await;
    let logged = log(&app).await;
    let database = app.database().await;
    database.execute(SPOIL).await;
    let page = get(&app, "/v1/events").await;
    assert_eq!((page.status, seqs(&page.body)), (200, vec![1, 3]));
    assert_eq!(seq(&page.body["next"]), 3);
    let first = get(&app, "/v1/events?after=1&limit=1").await.body;
    assert_eq!((seqs(&first), seq(&first["next"])), (vec![3], 3));
    let mut behind = SseReader::open(app.internal, "after=0", None).await;
    let mut newest = SseReader::open(app.internal, "", None).await;
    assert_eq!(behind.take(2).await, [logged[0].clone(), logged[2].clone()]);
    assert_eq!(newest.comment().await, 3);
    database.execute(TELL_OF_IT).await;
    post(&app, 3..4, "processing").await;
    for reader in [&mut behind, &mut newest] {
        assert_eq!(reader.take(1).await[0].id.seq, 5);
    }
    assert!(app.counter(UNREADABLE) > 0);
    database.close().await;
    drop((behind, newest));
    app.stop().await.0.unwrap();
}

/// The newest events are gone, as after a failover to a server that did not have them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_went_back_ends_its_streams() {
    let app = TestApp::start().await;
    post(&app, 0..5, "processing").await;
    let mut reader = SseReader::open(app.internal, "after=4", None).await;
    reader.take(1).await;
    let database = app.database().await;
    let drop_trigger = database.either(
        "DROP TRIGGER event_newest_stays",
        "DROP TRIGGER event_newest_stays ON event",
    );
    database.execute(drop_trigger).await;
    database.execute("DELETE FROM event WHERE seq > 3").await;
    assert!(!reader.ended().await, "it is broken off");
    let refused = SseReader::try_open(app.internal, "", Some(5)).await;
    assert_eq!(refused.err(), Some(Some(400)));
    // On PostgreSQL the first event after the break begins an epoch.
    post(&app, 5..7, "processing").await;
    let mut resumed = SseReader::open(app.internal, "", Some(3)).await;
    assert_eq!(resumed.take(2).await, log(&app).await[3..]);
    database.close().await;
    drop((reader, resumed));
    app.stop().await.0.unwrap();
}

fn is_broken(follower: &Follower) -> bool {
    matches!(follower.next_after(0), Next::Broken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_are_disconnected_when_the_log_cannot_be_read() {
    let home = TestStore::new();
    let recording = Recording::start(home.url()).await;
    let (store, stop, metrics) = (
        Arc::clone(&recording.store),
        CancellationToken::new(),
        Metrics::new(),
    );
    let filling = RingReader::new(Arc::clone(&store), metrics.clone());
    let filling = LogFollower::new(&store, filling);
    let filling = tokio::spawn(run_loop(filling, stop.clone()));
    let epoch = store.log_state().await.unwrap().epochs.current();
    let mut follower = store.tail().follow(epoch);
    let taken_up = timeout(PATIENCE, follower.news()).await;
    assert!(taken_up.is_ok() && !is_broken(&follower));
    store.close().await;
    let cut_off = timeout(PATIENCE, follower.news()).await;
    assert!(cut_off.is_ok() && is_broken(&follower));
    let again = store.tail().follow(epoch);
    assert!(!is_broken(&again), "it may be better by then");
    let behind = |text: &str| {
        let series = r#"evolink_receiver_tail_behind_seconds{reader="streams"} "#;
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        Duration::from_secs_f64(line.unwrap().parse().unwrap())
    };
    let behind = behind(&metrics.render());
    assert!(behind > Duration::from_secs(1), "{behind:?}");
    drop((follower, again));
    stop.cancel();
    filling.await.unwrap();
    recording.end().await;
}
