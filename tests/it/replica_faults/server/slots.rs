//! A server with fewer connections than the receivers would like to have: callbacks are recorded,
//! and reads wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use crate::replica_faults::sessions;
use crate::replica_faults::three::prepare;
use crate::support::process::load::callback;
use crate::support::process::{Place, Receiver};
use crate::support::store::TestStore;
use crate::support::store::database::Database;
use crate::support::store::postgres::{Cluster, Options};

/// Owns the database, and is no superuser, so connection limits apply to it.
const ROLE: &str = "CREATE ROLE receiver LOGIN; ALTER DATABASE % OWNER TO receiver";

/// Concurrent reads: more than there are connections for.
const READS: usize = 24;

/// Callbacks that may be refused after the writer's session was terminated: one discovers it, and
/// EvoLink sends it again.
const TRIES: u64 = 4;

/// The time in which each copy records again, on a busy machine.
const RECORDED_WITHIN: Duration = Duration::from_secs(15);

const OF_ROLE: &str = "usename = 'receiver'";

/// Terminates the sessions that wrote last. A reader never runs these statements.
const WRITERS: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'receiver'
    AND (query LIKE '%recorder_turn%' OR query LIKE 'COMMIT%' OR query LIKE 'NOTIFY%')";

/// A receiver's place on `cluster`, as a user to whom connection limits apply.
async fn place(cluster: &Cluster) -> Place {
    let store = TestStore::on_cluster(cluster).await;
    prepare(&store, ROLE).await;
    let place = Place::on(store);
    as_role(&place);
    place
}

fn as_role(place: &Place) {
    place.configure("postgres://postgres@", "postgres://receiver@");
}

/// Makes all receivers read at once, and blocks the reads until the receivers have `sessions`
/// sessions in total. `lock` is a separate connection, because inside a transaction the server
/// keeps showing the same list of sessions.
async fn read_at_once(receivers: &[&Receiver], admin: &Database, lock: &Database, sessions: i64) {
    lock.execute("BEGIN; LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
        .await;
    let all = receivers.iter().flat_map(|receiver| {
        (0..READS).map(async move |_| receiver.status("/v1/tasks?limit=5").await)
    });
    let unlock = async {
        sessions::until_there_are(admin, OF_ROLE, |count| count >= sessions).await;
        lock.execute("ROLLBACK").await;
    };
    let (statuses, ()) = tokio::join!(join_all(all), unlock);
    let refused = statuses.iter().filter(|status| **status != Some(200));
    assert_eq!(refused.count(), 0, "reads wait");
}

async fn limit(admin: &Database, sessions: i64) {
    let sql = format!("ALTER ROLE receiver CONNECTION LIMIT {sessions}");
    admin.execute(&sql).await;
}

async fn sessions_now(admin: &Database) -> i64 {
    let sql = format!("SELECT count(*) {} AND {OF_ROLE}", sessions::OURS);
    admin.value(&sql, &[]).await
}

/// Acts as another program that takes every free connection.
async fn take_all(url: &str) -> Vec<PgConnection> {
    let mut taken = Vec::new();
    while let Ok(connection) = PgConnection::connect(url).await {
        taken.push(connection);
    }
    taken
}

/// Sends callbacks until one is recorded.
async fn is_recorded(receiver: &Receiver, round: usize) {
    let mut answers = Vec::new();
    for n in 0..TRIES {
        let answer = receiver.callback(callback(round, n).body).await;
        let is_done = matches!(answer, Some((200, _)));
        answers.push(answer);
        if is_done {
            return;
        }
    }
    panic!("{answers:?}\n{}", receiver.log_tail());
}

async fn reads_are_answered(receiver: &Receiver) {
    let reads = (0..READS).map(|_| receiver.status("/v1/tasks?limit=5"));
    for status in join_all(reads).await {
        assert_eq!(status, Some(200), "{}", receiver.log_tail());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_few_connections_records_callbacks_after_its_writer_was_lost() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let place = place(&cluster).await;
    let (admin, lock) = (place.store().connect().await, place.store().connect().await);
    limit(&admin, 9).await;
    let receiver = place.start().await;
    is_recorded(&receiver, 0).await;
    for round in 1..=3 {
        limit(&admin, 9).await;
        // Later the receiver has fewer sessions, because it opens another one only after a while.
        let wanted = if round == 1 { 6 } else { 3 };
        read_at_once(&[&receiver], &admin, &lock, wanted).await;
        // The writer only gets a connection if the receiver closes one of its own readers.
        limit(&admin, (sessions_now(&admin).await - 1).max(3)).await;
        let ended: i64 = admin.value(WRITERS, &[]).await;
        assert_eq!(ended, 1, "one writes");
        is_recorded(&receiver, round).await;
        reads_are_answered(&receiver).await;
    }
    assert_eq!(receiver.status("/readyz").await, Some(200));
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_receivers_on_twenty_connections_record_after_their_writers_were_lost() {
    let options = Options {
        // Three connections are reserved for superusers, and this test uses two.
        settings: vec!["max_connections=25".to_owned()],
        ..Options::quick()
    };
    let Some(cluster) = Cluster::start(options).await else {
        return;
    };
    let first = place(&cluster).await;
    let (admin, lock) = (first.store().connect().await, first.store().connect().await);
    let one = first.start().await;
    let places = [first.replica(), first.replica()];
    places.iter().for_each(as_role);
    let (two, three) = tokio::join!(places[0].start(), places[1].start());
    let receivers = [&one, &two, &three];
    let place_url = &first.store().url().replace("postgres@", "receiver@");
    for (n, receiver) in (0..).zip(receivers) {
        is_recorded(receiver, n).await;
    }
    for round in 1..=2 {
        let wanted = if round == 1 { 14 } else { 9 };
        read_at_once(&receivers, &admin, &lock, wanted).await;
        let ended: i64 = admin.value(WRITERS, &[]).await;
        assert_eq!(ended, 3, "each has one that writes");
        // The writers only get connections if the receivers close some of their own readers.
        let others = take_all(place_url).await;
        for (n, receiver) in (0..).zip(receivers) {
            is_recorded(receiver, 10 * round + n).await;
        }
        // A receiver that had one reader gave it to its writer, so its reads wait for a free slot.
        drop(others);
        for receiver in receivers {
            reads_are_answered(receiver).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_connections_are_enough_to_write_to_listen_and_to_read() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let place = place(&cluster).await;
    let admin = place.store().connect().await;
    limit(&admin, 3).await;
    // It would use ten connections if it could.
    let receiver = place.start().await;
    for round in 0..3 {
        is_recorded(&receiver, round).await;
        reads_are_answered(&receiver).await;
        let listens = format!("{OF_ROLE} AND query LIKE 'LISTEN%'");
        sessions::until_there_are(&admin, &listens, |count| count == 1).await;
        let end = format!(
            "SELECT count(pg_terminate_backend(pid)) {} AND {OF_ROLE}",
            sessions::OURS
        );
        let ended: i64 = admin.value(&end, &[]).await;
        assert!(ended <= 3, "{ended} sessions");
    }
    receiver.stop().await;
}

/// Starts a copy again until it is up, as a supervisor does, and waits until it has recorded.
async fn starts_and_records(place: &Place, round: usize) -> Receiver {
    let began = Instant::now();
    let receiver = loop {
        match place.try_start().await {
            Ok(receiver) => break receiver,
            Err(refusal) => assert!(began.elapsed() < RECORDED_WITHIN, "{refusal}"),
        }
    };
    is_recorded(&receiver, round).await;
    let lasted = began.elapsed();
    assert!(lasted < RECORDED_WITHIN, "it took {lasted:?}");
    receiver
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_gets_connections_that_the_first_one_no_longer_uses() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let place = place(&cluster).await;
    let (admin, lock) = (place.store().connect().await, place.store().connect().await);
    let one = place.start().await;
    is_recorded(&one, 0).await;
    read_at_once(&[&one], &admin, &lock, 6).await;
    limit(&admin, 6).await;
    // The first copy is idle from here on.
    let second = place.replica();
    as_role(&second);
    let two = starts_and_records(&second, 1).await;
    reads_are_answered(&one).await;
    reads_are_answered(&two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_gets_connections_from_copies_that_are_read_all_the_time() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let first = place(&cluster).await;
    let (admin, lock) = (first.store().connect().await, first.store().connect().await);
    let places = [first.replica(), first.replica()];
    places.iter().for_each(as_role);
    let (one, two) = (first.start().await, places[0].start().await);
    read_at_once(&[&one, &two], &admin, &lock, 9).await;
    limit(&admin, 9).await;
    let is_over = AtomicBool::new(false);
    let reading = [&one, &two].into_iter().flat_map(|receiver| {
        let is_over = &is_over;
        (0..READS).map(async move |_| {
            while !is_over.load(Ordering::Relaxed) {
                let status = receiver.status("/v1/tasks?limit=5").await;
                assert_eq!(status, Some(200), "{}", receiver.log_tail());
            }
        })
    });
    let recording = async {
        let three = starts_and_records(&places[1], 0).await;
        for (n, receiver) in (1..).zip([&one, &two, &three]) {
            is_recorded(receiver, n).await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all(reading), recording);
}
