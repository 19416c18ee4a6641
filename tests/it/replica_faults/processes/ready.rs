//! `/readyz` on PostgreSQL: a read-only server, and another session that holds the write lock.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::process::Place;
use crate::support::process::load::callback;
use crate::support::process::ready::ready_is;
use crate::support::store::TestStore;
use crate::support::store::postgres::{Cluster, Options};

/// Changes with each new version of the row, whether or not its transaction was committed.
const ROW: &str = "SELECT ctid::text FROM recorder_turn";

/// More than one probe.
const IDLE: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_service_whose_server_becomes_read_only_is_not_ready_until_it_is_not() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let place = Place::on(TestStore::on_cluster(&cluster).await);
    let receiver = place.start().await;
    let database = place.store().connect().await;
    let set = async |value: &str| {
        database
            .execute(&format!(
                "ALTER SYSTEM SET default_transaction_read_only = {value}"
            ))
            .await;
        database.execute("SELECT pg_reload_conf()").await;
    };
    set("on").await;
    let body = ready_is(&receiver, 503).await;
    assert_eq!(body["details"]["writer"]["state"], "failing", "{body}");
    assert_eq!(body["details"]["reader"]["state"], "ok", "{body}");
    database
        .execute("SET default_transaction_read_only = off")
        .await;
    set("off").await;
    ready_is(&receiver, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_turn_another_session_holds_is_not_ready_and_says_so_in_time() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    let receiver = place.start().await;
    let database = place.store().connect().await;
    let rows: Vec<(String,)> = database.rows(ROW, &[]).await;
    let idle_until = Instant::now() + IDLE;
    while Instant::now() < idle_until {
        ready_is(&receiver, 200).await;
        sleep(Duration::from_millis(100)).await;
    }
    let later: Vec<(String,)> = database.rows(ROW, &[]).await;
    assert_eq!(rows, later, "probes leave no dead rows");
    // Some of these block reads as well. `ready_is` checks that answers still come in time.
    for hold in [
        "BEGIN; UPDATE recorder_turn SET taken = taken + 1 WHERE id = 1",
        "BEGIN; SELECT 1 FROM recorder_turn FOR UPDATE; LOCK TABLE task IN ACCESS EXCLUSIVE MODE",
        // The lock that creating an index takes.
        "BEGIN; LOCK TABLE event IN SHARE MODE",
    ] {
        database.execute(hold).await;
        let body = ready_is(&receiver, 503).await;
        assert!(body["reason"].is_string(), "{body}");
        database.execute("ROLLBACK").await;
        ready_is(&receiver, 200).await;
    }
}

/// A probe writes nothing, so it succeeds where no batch does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_server_has_no_space_is_not_ready_between_two_callbacks() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    let receiver = place.start().await;
    let database = place.store().connect().await;
    database
        .execute(
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER no_space BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION no_space()",
        )
        .await;
    let body = r#"{"id":"task-unified-1","status":"processing","progress":1}"#;
    let answer = receiver.callback(body.to_owned()).await.unwrap();
    assert_eq!(answer.0, 503);
    // A load balancer makes this many requests between two callbacks.
    let until = Instant::now() + IDLE;
    while Instant::now() < until {
        let (status, body) = receiver.get("/readyz").await.unwrap();
        assert_eq!(status, 503, "{body}");
        sleep(Duration::from_millis(100)).await;
    }
    database.execute("DROP TRIGGER no_space ON event").await;
    let answer = receiver.callback(body.to_owned()).await.unwrap();
    assert_eq!(answer.0, 200);
    ready_is(&receiver, 200).await;
}

/// Without the row nothing keeps two replicas from writing at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lost_the_row_of_the_write_lock_is_not_written() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    let receiver = place.start().await;
    let database = place.store().connect().await;
    assert_eq!(
        receiver.callback(callback(0, 0).body).await,
        Some((200, None))
    );
    database.execute("DELETE FROM recorder_turn").await;
    for n in 1..4 {
        let answer = receiver.callback(callback(0, n).body).await;
        assert_eq!(answer.map(|(status, _)| status), Some(503));
    }
    let tasks: i64 = database.value("SELECT count(*) FROM task", &[]).await;
    assert_eq!(tasks, 1, "nothing was written without the lock");
    ready_is(&receiver, 503).await;
    let log = receiver.log();
    assert!(
        log.contains("recorder_turn has no row: restore the database"),
        "{log}"
    );
    // An idle service finds it, too.
    sleep(IDLE).await;
    ready_is(&receiver, 503).await;
    database
        .execute("INSERT INTO recorder_turn (id, taken) VALUES (1, 0)")
        .await;
    ready_is(&receiver, 200).await;
    assert_eq!(
        receiver.callback(callback(1, 0).body).await,
        Some((200, None))
    );
}
