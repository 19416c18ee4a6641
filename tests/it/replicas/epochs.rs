//! A database is restored or copied, perhaps while replicas run. Each event keeps a unique id, and
//! no reader skips events without noticing.

use evolink_receiver::store::Store;
use serde_json::Value;

use super::three::{Replicas, completed};
use crate::support::app::TestApp;
use crate::support::events::reader::SseReader;
use crate::support::store::TestStore;
use crate::support::store::database::{Database, Refused};

/// Restores the log to event 4 and lets it grow beyond its previous end.
const RESTORED: &str = "ALTER TABLE event DISABLE TRIGGER event_newest_stays;
    DELETE FROM delivery WHERE event_seq > 4; DELETE FROM event WHERE seq > 4;
    ALTER TABLE event ENABLE TRIGGER event_newest_stays;
    INSERT INTO epoch (number, name, after_seq, began_at, home)
        SELECT 2, 'wwwwwwww', 4, began_at, home FROM epoch WHERE number = 1;
    INSERT INTO event (seq, task_seq, type, at) SELECT seq, 1, 'task.processing', 0 FROM generate_series(5, 9) AS seq;
    COMMIT";

const EPOCH: &str = "wwwwwwww";

/// Sets the log back to event 2.
const SET_BACK: &str = "ALTER TABLE event DISABLE TRIGGER event_newest_stays;
    DELETE FROM delivery WHERE event_seq > 2; DELETE FROM event WHERE seq > 2;
    ALTER TABLE event ENABLE TRIGGER event_newest_stays";

async fn record(app: &TestApp, tasks: std::ops::Range<u32>) {
    let token = app.standing_token("shop");
    for number in tasks {
        let body = completed(&format!("task-{number}"));
        assert_eq!(app.callback_result(&token, body).await, "recorded");
    }
}

async fn ids(app: &TestApp, query: &str) -> Vec<String> {
    let (status, page) = app.get(&format!("/v1/events?{query}")).await;
    assert_eq!(status, 200, "{page}");
    let events = page["data"].as_array().unwrap().iter();
    events
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn epochs(database: &Database) -> Vec<String> {
    database
        .values("SELECT name FROM epoch ORDER BY number", &[])
        .await
}

/// The log is set back and grows beyond its previous end before any replica looks, so the event
/// numbers alone show nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_run_while_the_database_is_restored_use_no_id_twice() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let [first, second, _] = &replicas.apps;
    record(first, 0..6).await;
    let mut stream = SseReader::open(second.internal, "after=0", None).await;
    let seen = stream.take(6).await;
    let before = seen[5].id;
    replicas.database.hold_writes().await;
    replicas.database.execute(RESTORED).await;
    record(first, 10..11).await;
    assert!(!stream.ended().await, "it is broken off");
    let all: Vec<String> = (1..=10)
        .map(|seq| {
            let epoch = if seq > 4 {
                EPOCH
            } else {
                before.epoch.as_str()
            };
            format!("{epoch}-{seq}")
        })
        .collect();
    for app in &replicas.apps {
        assert_eq!(ids(app, "after=0").await, all);
        let (status, body) = app.get(&format!("/v1/events?after={before}")).await;
        let resume = &body["error"]["resume_after"];
        assert_eq!((status, resume), (410, &Value::from(format!("{EPOCH}-4"))));
        let resume = resume.as_str().unwrap();
        assert_eq!(ids(app, &format!("after={resume}")).await, all[4..]);
    }
    let mut resumed = SseReader::open(second.internal, &format!("after={EPOCH}-4"), None).await;
    assert_eq!(resumed.take(6).await.len(), 6);
    drop((stream, resumed));
    replicas.assert_well().await;
}

/// For a `pg_dump` into another database, or a standby that takes over: the first process that
/// opens it begins an epoch, and only that one.
#[tokio::test]
async fn a_copy_of_a_database_begins_an_epoch_of_its_own() {
    let Some(home) = TestStore::on_postgres() else {
        return;
    };
    Store::open(home.url()).await.unwrap().close().await;
    Store::open(home.url()).await.unwrap().close().await;
    let database = home.connect().await;
    let first = epochs(&database).await;
    assert_eq!(first.len(), 1, "a restart begins none");
    database.close().await;
    let (server, name) = home.url().rsplit_once('/').unwrap();
    let all = Database::connect(&format!("{server}/postgres")).await;
    let copy = format!("{name}_copy");
    all.execute(&format!("CREATE DATABASE {copy} TEMPLATE {name}"))
        .await;
    let url = format!("{server}/{copy}");
    let (one, other) = tokio::join!(Store::open(&url), Store::open(&url));
    one.unwrap().close().await;
    other.unwrap().close().await;
    let database = Database::connect(&url).await;
    let both = epochs(&database).await;
    database.close().await;
    all.execute(&format!("DROP DATABASE {copy} WITH (FORCE)"))
        .await;
    assert_eq!((both.len(), &both[0]), (2, &first[0]), "{both:?}");
}

/// No connection breaks, and the log is shorter than before: the recorder alone notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_set_back_beneath_replicas_begins_an_epoch() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let [first, second, _] = &replicas.apps;
    record(first, 0..6).await;
    // This replica has recorded nothing, but its readers have seen the events.
    let seen = ids(second, "after=0").await;
    replicas.database.execute(SET_BACK).await;
    record(second, 10..11).await;
    record(first, 11..12).await;
    let now = ids(second, "after=0").await;
    assert_eq!((now.len(), &now[..2]), (4, &seen[..2]), "{now:?}");
    assert!(now[2..].iter().all(|id| !seen.contains(id)), "{now:?}");
    let (status, _) = first.get(&format!("/v1/events?after={}", seen[5])).await;
    assert_eq!(status, 410);
    replicas.assert_well().await;
}

/// An epoch begins in the transaction of a batch, so a batch that fails begins none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_set_back_begins_one_epoch_however_many_batches_fail() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let (app, database) = (&replicas.apps[0], &replicas.database);
    record(app, 0..6).await;
    let before = epochs(database).await;
    database.execute(SET_BACK).await;
    database.refuse(Refused::Events, "ABORT").await;
    let token = app.standing_token("shop");
    for number in 10..13 {
        let body = completed(&format!("task-{number}"));
        assert_eq!(app.callback_result(&token, body).await, "503");
    }
    database.stop_refusing().await;
    record(app, 20..22).await;
    assert_eq!(epochs(database).await.len(), before.len() + 1);
    replicas.assert_well().await;
}

/// A restore in one transaction, which drops the table or empties it, breaks no connection. The
/// replica that records first has seen none of the events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_replaced_or_emptied_beneath_replicas_begins_an_epoch() {
    const REPLACED: &str = "CREATE TABLE other AS SELECT * FROM event;
        ALTER TABLE event RENAME TO old; ALTER TABLE other RENAME TO event";
    const EMPTIED: &str = "BEGIN; CREATE TABLE kept AS SELECT * FROM event WHERE seq <= 2;
        TRUNCATE event, delivery; INSERT INTO event SELECT * FROM kept; COMMIT";
    for restored in [REPLACED, EMPTIED] {
        let Some(replicas) = Replicas::start().await else {
            return;
        };
        let [first, second, _] = &replicas.apps;
        record(first, 0..6).await;
        let before = epochs(&replicas.database).await;
        replicas.database.execute(restored).await;
        record(second, 10..11).await;
        assert_eq!(epochs(&replicas.database).await.len(), before.len() + 1);
    }
}

/// The processes are stopped during the restore.
#[tokio::test]
async fn a_start_after_the_table_was_emptied_and_filled_again_begins_an_epoch() {
    let Some(home) = TestStore::on_postgres() else {
        return;
    };
    Store::open(home.url()).await.unwrap().close().await;
    let database = home.connect().await;
    let before = epochs(&database).await;
    database.execute("TRUNCATE event, delivery").await;
    Store::open(home.url()).await.unwrap().close().await;
    assert_eq!(epochs(&database).await.len(), before.len() + 1);
    database.close().await;
}
