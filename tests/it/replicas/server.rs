//! That the server under these tests is what they take it for: its data outlives its processes, and it does not outlive us.

use std::net::TcpStream;
use std::path::Path;

use crate::support::database::Database;
use crate::support::postgres::{Cluster, Options};

/// On a connection of its own: each end of the server breaks those that were.
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
