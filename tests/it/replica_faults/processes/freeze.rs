//! A replica freezes in the middle of its transaction, like a process whose machine is paused. The
//! server ends its session, and the other replicas continue. When it continues, it does not
//! acknowledge what the server has rolled back.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::replica_faults::sessions;
use crate::replica_faults::three::{Replicas, moment};
use crate::support::campaign::{random, rounds};
use crate::support::process::replica_load::{Load, Report};
use crate::support::store::TestStore;
use crate::support::store::database::Database;
use crate::support::store::postgres::{Cluster, Options};

/// Longer than any session that is not frozen stands still under load.
const ANY_SESSION_STANDS_STILL: Duration = Duration::from_millis(400);

/// Attempts to freeze inside a transaction, because most moments are outside of one.
const TRIES: u32 = 200;

/// How long the replica stays frozen: far longer than the server tolerates an idle session in a
/// transaction.
const STANDS_STILL: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_frozen_in_its_turn_does_not_hold_up_the_others() {
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let (mut random, rounds) = (random(), rounds(1, 8));
    let mut replicas = Replicas::start(TestStore::on_cluster(&cluster).await).await;
    let database = replicas.store().connect().await;
    let load = replicas.load();
    let (mut frozen, mut held_up) = (Vec::new(), Duration::ZERO);
    for round in 0..rounds {
        load.is_acknowledged_at(&[0, 1, 2]).await;
        let at = random.usize(..3);
        let began = freeze_in_its_turn(&replicas, at, &database, &mut random).await;
        // The replica stays frozen all this time, so only the server can unblock the others.
        load.is_acknowledged_at(&[(at + 1) % 3, (at + 2) % 3]).await;
        held_up = held_up.max(began.elapsed());
        let left = STANDS_STILL.saturating_sub(began.elapsed());
        if round > 0 {
            sleep(moment(&mut random, left)).await;
        }
        replicas.receivers[at].thaw();
        frozen.push((at, began, Instant::now()));
    }
    let report = any_moment(&replicas, load, &mut frozen, &mut random, rounds).await;
    replicas.assert_whole(&report).await;
    report.assert_statuses();
    let longest = report.assert_in_time(|attempt| {
        let mut frozen = frozen.iter();
        !frozen.any(|(at, from, to)| {
            attempt.at == *at && attempt.began < *to && attempt.ended() > *from
        })
    });
    println!(
        "{} times frozen, {rounds} of them in its turn; the others went on after {held_up:?}; the longest answer took {longest:?}",
        frozen.len()
    );
}

type Frozen = (usize, Instant, Instant);

/// Freezes the replica repeatedly until it has a transaction open, and returns when that was.
async fn freeze_in_its_turn(
    replicas: &Replicas,
    at: usize,
    database: &Database,
    random: &mut fastrand::Rng,
) -> Instant {
    for _ in 0..TRIES {
        sleep(moment(random, Duration::from_millis(20))).await;
        let began = Instant::now();
        replicas.receivers[at].freeze();
        sleep(ANY_SESSION_STANDS_STILL).await;
        if sessions::forgotten(database).await > 0 {
            return began;
        }
        replicas.receivers[at].thaw();
    }
    panic!("it was never in a transaction");
}

/// Freezes one replica after the other for a short while, at any point of its work, and ends the
/// load.
async fn any_moment(
    replicas: &Replicas,
    load: Load,
    frozen: &mut Vec<Frozen>,
    random: &mut fastrand::Rng,
    rounds: u32,
) -> Report {
    for _ in 0..rounds * 5 {
        let (at, began) = (random.usize(..3), Instant::now());
        replicas.receivers[at].freeze();
        sleep(moment(random, Duration::from_millis(500))).await;
        replicas.receivers[at].thaw();
        frozen.push((at, began, Instant::now()));
        sleep(moment(random, Duration::from_millis(50))).await;
    }
    load.is_acknowledged_at(&[0, 1, 2]).await;
    load.stop().await
}
