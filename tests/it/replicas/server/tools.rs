//! Tests of the test tools: the server's data survives its processes, the server does not outlive
//! the test, and the test's own connection sees every write.

use std::net::TcpStream;
use std::path::Path;

use crate::support::store::TestStore;
use crate::support::store::database::Database;
use crate::support::store::postgres::{Cluster, Options};

/// Counts the rows on a fresh connection, because each stop of the server breaks the existing ones.
async fn rows(cluster: &Cluster) -> i64 {
    let database = Database::connect(&cluster.url("postgres")).await;
    let count = database.value("SELECT count(*) FROM kept", &[]).await;
    database.close().await;
    count
}

#[tokio::test]
async fn what_was_committed_is_there_after_each_kind_of_end() {
    let Some(mut cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let database = Database::connect(&cluster.url("postgres")).await;
    let synced: String = database.value("SHOW fsync", &[]).await;
    assert_eq!(synced, "on");
    database.execute("CREATE TABLE kept (n INT)").await;
    for kept in 1..=3 {
        let database = Database::connect(&cluster.url("postgres")).await;
        database.execute("INSERT INTO kept VALUES (1)").await;
        let (pid, address) = (cluster.pid(), cluster.address());
        match kept {
            1 => cluster.stop_immediate().await,
            2 => cluster.kill().await,
            _ => cluster.stop_fast().await,
        }
        assert!(TcpStream::connect(address).is_err(), "it is gone");
        cluster.start_again().await;
        assert_ne!(cluster.pid(), pid);
        assert_eq!(cluster.address(), address);
        assert_eq!(rows(&cluster).await, kept);
    }
    let recovered = cluster.log().matches("was not properly shut down").count();
    assert_eq!(recovered, 2, "{}", cluster.log());
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let (pid, address) = (cluster.pid(), cluster.address());
    drop(cluster);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn every_write_makes_another_version_and_no_read_does() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let (database, writer) = (store.connect().await, store.connect().await);
    writer
        .execute("CREATE TABLE a (n INT); CREATE TABLE b (n INT); INSERT INTO b VALUES (1)")
        .await;
    let mut version = database.version().await;
    for write in [
        "INSERT INTO a VALUES (1)",
        "UPDATE a SET n = 1",
        "UPDATE b SET n = n",
        "DELETE FROM a",
        "TRUNCATE b",
    ] {
        for read in [
            "SELECT * FROM a, b",
            "BEGIN; INSERT INTO a VALUES (2); ROLLBACK",
        ] {
            writer.execute(read).await;
            assert_eq!(database.version().await, version, "{read}");
        }
        writer.execute(write).await;
        let before = std::mem::replace(&mut version, database.version().await);
        assert_ne!(before, version, "{write}");
    }
}
