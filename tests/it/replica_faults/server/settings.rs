//! A server whose settings change while the receiver runs. The settings that durability needs are
//! set in each transaction, not checked once.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::process::Place;
use crate::support::process::load::callback;
use crate::support::store::postgres::{Cluster, Options};
use crate::support::store::{TestStore, check};
use crate::support::until::PATIENCE;

/// Makes sure that only a commit that waits for the disk is on the disk. 10 s is the longest delay
/// that the server allows.
const LAZY: &str = "ALTER SYSTEM SET wal_writer_delay = '10s'";

const CALLBACKS: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_told_not_to_wait_for_its_disk_while_we_run_loses_nothing_in_a_crash() {
    let Some(mut cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let place = Place::on(TestStore::on_cluster(&cluster).await);
    let receiver = place.start().await;
    let mut acknowledged = Vec::new();
    for round in 0..2 {
        if round == 1 {
            let admin = place.store().connect().await;
            admin.execute(LAZY).await;
            admin
                .execute("ALTER SYSTEM SET synchronous_commit = off")
                .await;
            admin.execute("SELECT pg_reload_conf()").await;
            admin.close().await;
            until_set(&place, "off").await;
        }
        for n in 0..CALLBACKS {
            let callback = callback(round, n);
            let answer = receiver.callback(callback.body.clone()).await;
            assert_eq!(answer, Some((200, None)), "{}", receiver.log_tail());
            acknowledged.push(callback);
        }
    }
    cluster.kill().await;
    cluster.start_again().await;
    let faults = check::faults(place.store(), &acknowledged).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Waits until the server has read its new setting.
async fn until_set(place: &Place, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let look = place.store().connect().await;
        let now: String = look.value("SHOW synchronous_commit", &[]).await;
        look.close().await;
        if now == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "the server stays at {now}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// `off` is raised to `on`. With any other value a commit waits for the disk, so it remains the
/// operator's choice.
#[tokio::test]
async fn only_a_setting_that_does_not_wait_for_the_disk_is_changed() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    for (chosen, wanted) in [
        ("off", "on"),
        ("local", "local"),
        ("remote_write", "remote_write"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        let place = Place::on(TestStore::on_cluster(&cluster).await);
        let receiver = place.start().await;
        // The recorder is connected before the setting changes.
        let first = callback(0, 0).body;
        assert_eq!(receiver.callback(first).await, Some((200, None)));
        let database = place.store().connect().await;
        // From now on each event records how its transaction will be committed.
        database
            .execute(
                "CREATE TABLE noted (value text);
                CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
                CREATE TRIGGER note BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION note()",
            )
            .await;
        database
            .execute(&format!("ALTER SYSTEM SET synchronous_commit = {chosen}"))
            .await;
        database.execute("SELECT pg_reload_conf()").await;
        let body = callback(1, 0).body;
        until_set(&place, chosen).await;
        assert_eq!(receiver.callback(body).await, Some((200, None)));
        let noted: Vec<String> = database
            .values("SELECT DISTINCT value FROM noted", &[])
            .await;
        assert_eq!(noted, [wanted], "{chosen}");
        database.close().await;
    }
}

/// `fsync` and `full_page_writes` can only be set on the server. The receiver can only report them,
/// in the log and as a gauge.
#[tokio::test]
async fn a_server_that_stops_waiting_for_its_disk_while_we_run_is_warned_of() {
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let place = Place::on(TestStore::on_cluster(&cluster).await);
    let receiver = place.start().await;
    let admin = place.store().connect().await;
    for (n, value) in [(0, "on"), (1, "off"), (2, "on")] {
        let set = format!("ALTER SYSTEM SET full_page_writes = {value}");
        admin.execute(&set).await;
        admin.execute("SELECT pg_reload_conf()").await;
        let wanted = format!(
            "evolink_receiver_store_durable{{}} {}",
            u8::from(value == "on")
        );
        let deadline = Instant::now() + PATIENCE;
        for again in 0.. {
            let body = callback(n, again).body;
            assert_eq!(receiver.callback(body).await, Some((200, None)));
            let url = format!("http://{}/metrics", receiver.internal);
            let metrics = receiver.http.get(url).send().await.unwrap();
            let metrics = metrics.text().await.unwrap();
            let mut lines = metrics.lines();
            let found = lines.find(|line| line.contains("store_durable") && !line.starts_with('#'));
            if found == Some(wanted.as_str()) {
                break;
            }
            assert!(Instant::now() < deadline, "{value}: {found:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
    let log = receiver.log();
    assert_eq!(log.matches("full_page_writes=off").count(), 1, "{log}");
    assert!(log.contains("waits for its disk again"), "{log}");
}
