//! I1, I10, I13: a replica is killed at a random moment under load, round after round. The other
//! replicas take over its work.

use std::time::Duration;

use tokio::time::sleep;

use crate::replica_faults::three::{Replicas, moment};
use crate::support::campaign::{random, rounds};
use crate::support::store::TestStore;
use crate::support::store::postgres::{Cluster, Options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_replica_acknowledged_is_there() {
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let (mut random, rounds) = (random(), rounds(3, 20));
    let mut replicas = Replicas::start(TestStore::on_cluster(&cluster).await).await;
    let load = replicas.load();
    for _ in 0..rounds {
        load.is_acknowledged_at(&[0, 1, 2]).await;
        sleep(moment(&mut random, Duration::from_millis(300))).await;
        let killed = random.usize(..3);
        replicas.receivers[killed].kill();
        load.is_acknowledged_at(&[(killed + 1) % 3, (killed + 2) % 3])
            .await;
        replicas.start_again(killed).await;
    }
    load.is_acknowledged_at(&[0, 1, 2]).await;
    let report = load.stop().await;
    replicas.assert_whole(&report).await;
    report.assert_statuses();
    let longest = report.assert_in_time(|_| true);
    println!("{rounds} replicas killed, the longest answer took {longest:?}");
}
