//! The server's log stays readable: normal work of the receivers writes no line to it.

use crate::replica_faults::sessions;
use crate::support::process::Place;
use crate::support::process::load::callback;
use crate::support::store::TestStore;
use crate::support::store::postgres::{Cluster, Options};

const READS: usize = 20;

#[tokio::test]
async fn reads_and_callbacks_leave_no_warning_in_the_servers_log() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let place = Place::on(TestStore::on_cluster(&cluster).await);
    let receiver = place.start().await;
    let body = callback(0, 0).body;
    assert_eq!(receiver.callback(body).await, Some((200, None)));
    for _ in 0..READS {
        assert_eq!(receiver.status("/v1/tasks").await, Some(200));
    }
    receiver.stop().await;
    let admin = place.store().connect().await;
    sessions::until_there_are(&admin, "true", |count| count == 0).await;
    let log = cluster.log();
    let is_complaint = |line: &&str| {
        ["WARNING:", "ERROR:", "FATAL:"]
            .iter()
            .any(|word| line.contains(word))
    };
    let complaints: Vec<&str> = log.lines().filter(is_complaint).collect();
    assert!(
        complaints.is_empty(),
        "{} lines, first {:?}",
        complaints.len(),
        complaints[0]
    );
}
