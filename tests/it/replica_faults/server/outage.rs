//! I1, I7: the server ends in every possible way, under load. The receivers keep running and report
//! that they are not ready. When the server is back, they become ready by themselves.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::replica_faults::three::{Replicas, moment, prepare};
use crate::support::campaign::{random, rounds};
use crate::support::process::replica_load::Load;
use crate::support::store::TestStore;
use crate::support::store::postgres::{Cluster, Options};
use crate::support::until::PATIENCE;

#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    Immediate,
    Fast,
}

const ENDS: [End; 3] = [End::Killed, End::Immediate, End::Fast];

/// An administrator may have set this for the database. If the receivers accepted it, acknowledged
/// callbacks would be lost with the server.
const CARELESS: &str = "ALTER DATABASE % SET synchronous_commit = off";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_outlive_every_end_of_their_server() {
    let Some(mut cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let (mut random, rounds) = (random(), rounds(1, 7));
    let store = TestStore::on_cluster(&cluster).await;
    prepare(&store, CARELESS).await;
    let mut replicas = Replicas::start(store).await;
    let load = replicas.load();
    let mut outages = Vec::new();
    for end in ENDS.repeat(usize::try_from(rounds).unwrap()) {
        load.is_acknowledged_at(&[0, 1, 2]).await;
        sleep(moment(&mut random, Duration::from_millis(500))).await;
        let ended = Instant::now();
        match end {
            End::Killed => cluster.kill().await,
            End::Immediate => cluster.stop_immediate().await,
            End::Fast => cluster.stop_fast().await,
        }
        all_say(&replicas, 503).await;
        replicas.assert_all_run();
        sleep(moment(&mut random, Duration::from_secs(rounds.into()))).await;
        cluster.start_again().await;
        let back = Instant::now();
        all_say(&replicas, 200).await;
        let ready = back.elapsed();
        load.is_acknowledged_at(&[0, 1, 2]).await;
        outages.push((end, ended, back, ready));
    }
    finish(&mut replicas, load, &outages).await;
}

type Outage = (End, Instant, Instant, Duration);

async fn finish(replicas: &mut Replicas, load: Load, outages: &[Outage]) {
    let report = load.stop().await;
    replicas.assert_whole(&report).await;
    report.assert_statuses();
    let longest = report.assert_in_time(|_| true);
    let recoveries = outages
        .iter()
        .map(|(.., back, _)| report.recovery(*back))
        .max();
    let ready = outages.iter().map(|(.., ready)| *ready).max();
    for (end, ended, back, _) in outages {
        let told = report.is_refused_between(*ended, *back);
        assert!(told, "{end:?}: nobody was told to come again");
    }
    println!(
        "{} outages; the longest answer took {longest:?}; back after {recoveries:?} at most, all ready after {ready:?}",
        outages.len()
    );
}

/// Waits until `/readyz` of all replicas answers `status`.
async fn all_say(replicas: &Replicas, status: u16) {
    let deadline = Instant::now() + PATIENCE;
    let waits = replicas.receivers.iter().map(|receiver| async move {
        while receiver.status("/readyz").await != Some(status) {
            assert!(Instant::now() < deadline, "never {status}");
            sleep(Duration::from_millis(20)).await;
        }
    });
    join_all(waits).await;
}
