//! The network between receivers and server drops everything silently, and later works again. The
//! test runs itself again in a network namespace that it creates, and uses the loopback there.

use std::net::TcpStream;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::replica_faults::three::{Replicas, moment};
use crate::support::campaign::{random, rounds};
use crate::support::machine::needs::{self, Root};
use crate::support::machine::own_network::{self, run};
use crate::support::store::TestStore;
use crate::support::store::postgres::{Cluster, Options};

const NAME: &str =
    "replica_faults::server::cut::callers_are_answered_in_time_though_the_server_says_nothing";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_answered_in_time_though_the_server_says_nothing() {
    let tools = ["nft"].into_iter().chain(own_network::TOOLS);
    if !needs::are_met(Root::Needed, &tools.collect::<Vec<_>>()) {
        return;
    }
    if !own_network::is_inside(NAME, &[]) {
        return;
    }
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    // The normal run has one silence, which is longer than a batch may take. The long run also has
    // silences that are longer than every timeout.
    let silences = match rounds(0, 1) {
        0 => &[6][..],
        _ => &[15, 2, 5, 15, 9][..],
    };
    let mut random = random();
    let mut replicas = Replicas::start(TestStore::on_cluster(&cluster).await).await;
    let load = replicas.load();
    let mut silent = Vec::new();
    for seconds in silences {
        load.is_acknowledged_at(&[0, 1, 2]).await;
        sleep(moment(&mut random, Duration::from_secs(1))).await;
        swallow(cluster.address().port());
        let began = Instant::now();
        sleep(Duration::from_secs(*seconds)).await;
        run("nft", &["delete table inet cut"]);
        silent.push((began, Instant::now()));
        load.is_acknowledged_at(&[0, 1, 2]).await;
    }
    let report = load.stop().await;
    replicas.assert_whole(&report).await;
    report.assert_statuses();
    let longest = report.assert_in_time(|_| true);
    let recoveries = silent.iter().map(|(_, to)| report.recovery(*to)).max();
    for (from, to) in silent {
        // Two seconds are shorter than a batch may take.
        let told = report.is_refused_between(from, to);
        assert!(
            told || to - from < Duration::from_secs(5),
            "nobody was told to come again"
        );
    }
    println!(
        "silent for {silences:?} s; the longest answer took {longest:?}; back after {recoveries:?} at most"
    );
}

/// Drops everything that the server sends or receives.
fn swallow(port: u16) {
    let chain =
        "add table inet cut; add chain inet cut input { type filter hook input priority 0; }";
    let [to, from] =
        ["dport", "sport"].map(|side| format!("add rule inet cut input tcp {side} {port} drop"));
    run("nft", &[&format!("{chain}; {to}; {from}")]);
    let server = ([127, 0, 0, 1], port).into();
    let tried = TcpStream::connect_timeout(&server, Duration::from_millis(50));
    assert!(tried.is_err(), "nothing goes through");
}
