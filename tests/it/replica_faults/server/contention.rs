//! Contention: a server with a stricter isolation level than requested, transactions that the
//! server refuses, even at their commit, a write lock that another session holds, and sessions that
//! an administrator terminates. Each callback ends in 200 and is stored, or in 503.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::replica_faults::sessions;
use crate::replica_faults::three::{Replicas, moment, prepared_store};
use crate::support::campaign::{random, rounds};
use crate::support::store::database::Database;

const STRICT: &str = "ALTER DATABASE % SET default_transaction_isolation = 'serializable'";

const TAKE_TURN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT 1 FROM recorder_turn FOR UPDATE";

/// Longer than a batch may take.
const TURN_HELD: Duration = Duration::from_secs(6);

/// Refuses some events at once and some observations at the commit, like serialization failures and
/// deadlocks.
const REFUSE: &str = "
    CREATE FUNCTION sometimes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF random() < 0.02 THEN RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001'; END IF;
        IF random() < 0.01 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER sometimes AFTER INSERT ON event FOR EACH ROW EXECUTE FUNCTION sometimes();
    CREATE CONSTRAINT TRIGGER sometimes_late AFTER INSERT ON observation
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sometimes()";

const STOP_REFUSING: &str = "DROP FUNCTION sometimes CASCADE";

/// Terminates one session that is writing, if there is one.
const END_ONE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
    AND application_name = 'evolink-receiver' AND xact_start IS NOT NULL AND state != 'idle' ORDER BY random() LIMIT 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_the_server_refuses_is_never_acknowledged() {
    let Some(store) = prepared_store(STRICT).await else {
        return;
    };
    let mut random = random();
    let mut replicas = Replicas::start(store).await;
    let database = replicas.store().connect().await;
    let (load, loaded) = (replicas.load(), Instant::now());
    for _ in 0..10 {
        load.is_acknowledged_at(&[0, 1, 2]).await;
    }
    let strict_until = Instant::now();

    in_our_turn(&database, REFUSE).await;
    let refusing = Duration::from_secs(rounds(2, 30).into());
    sleep(refusing).await;
    in_our_turn(&database, STOP_REFUSING).await;
    load.is_acknowledged_at(&[0, 1, 2]).await;

    let ended = end_sessions(&database, &mut random, rounds(30, 400)).await;
    load.is_acknowledged_at(&[0, 1, 2]).await;

    let began = Instant::now();
    hold_the_turn(&database).await;
    let let_go = Instant::now();
    load.is_acknowledged_at(&[0, 1, 2]).await;

    let report = load.stop().await;
    replicas.assert_whole(&report).await;
    report.assert_statuses();
    let longest = report.assert_in_time(|_| true);
    assert!(
        !report.is_refused_between(loaded, strict_until),
        "recorders take turns, however strictly the server isolates by itself"
    );
    assert!(
        report.is_refused_between(began, let_go),
        "nobody waited for the turn so long that it was told to come again"
    );
    let recovery = report.recovery(let_go);
    println!(
        "refused for {refusing:?}, {ended} sessions ended, the turn held for {TURN_HELD:?}; the longest answer took \
         {longest:?}; back after {recovery:?}"
    );
}

/// Runs `sql` while holding the write lock, so that no recorder has a transaction that takes the
/// same locks in another order.
async fn in_our_turn(database: &Database, sql: &str) {
    database.execute(TAKE_TURN).await;
    database.execute(sql).await;
    database.execute("COMMIT").await;
}

/// Terminates sessions as an administrator does, at any moment of a transaction. Returns how many.
async fn end_sessions(database: &Database, random: &mut fastrand::Rng, times: u32) -> usize {
    let mut ended = 0;
    for _ in 0..times {
        sleep(moment(random, Duration::from_millis(40))).await;
        let hit: Vec<bool> = database.values(END_ONE, &[]).await;
        ended += hit.len();
    }
    assert!(ended > 0, "one of them was in a transaction");
    ended
}

async fn hold_the_turn(database: &Database) {
    database.execute(TAKE_TURN).await;
    // A recorder that wants the write lock waits for it, and for no other lock.
    sessions::until_there_are(database, "wait_event_type = 'Lock'", |count| count > 0).await;
    sleep(TURN_HELD).await;
    database.execute("ROLLBACK").await;
}
