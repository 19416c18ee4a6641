//! The network between receivers and server swallows everything without a word, and then does not any more. It all happens on
//! the loopback of a network namespace that this test makes, in which it runs itself once more.

use std::net::TcpStream;
use std::process::Command;

use tokio::time::{Instant, sleep};

use super::{Duration, Replicas, moment};
use crate::durability::{random, rounds};
use crate::support::needs::{self, Root};
use crate::support::postgres::{Cluster, Options};
use crate::support::store::TestStore;

/// Set in the process that runs inside.
const INSIDE: &str = "EVOLINK_RECEIVER_TEST_IN_OWN_NETWORK";

const NAME: &str =
    "replica_faults::cut::callers_are_answered_in_time_though_the_server_says_nothing";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_answered_in_time_though_the_server_says_nothing() {
    let tools = ["nft", "ip", "unshare", "setpriv"];
    if !needs::are_met(Root::Needed, &tools) {
        return;
    }
    if std::env::var_os(INSIDE).is_none() {
        return run_in_own_network();
    }
    run("ip", &["link", "set", "lo", "up"]);
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    // Short: longer than a batch may take. Long: longer than anybody waits for anything.
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

/// This test once more, in a network where nobody else is; it is gone with the process.
fn run_in_own_network() {
    let this = std::env::current_exe().unwrap();
    let mut again = Command::new("unshare");
    again.args(["--net", "--", "setpriv", "--pdeathsig=KILL", "--"]);
    again.arg(this).args([NAME, "--exact", "--nocapture"]);
    let ended = again.env(INSIDE, "1").status().unwrap();
    assert!(ended.success(), "inside: {ended}");
}

/// Nothing that the server sends or is sent arrives any more.
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

fn run(program: &str, arguments: &[&str]) {
    let ended = Command::new(program).args(arguments).status().unwrap();
    assert!(ended.success(), "{program} {arguments:?}: {ended}");
}
