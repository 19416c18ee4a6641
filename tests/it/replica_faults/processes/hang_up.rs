//! F1, F3, I7 on PostgreSQL: clients that disconnect in the middle of reads, submits and callbacks
//! leave no transaction open. No acknowledgement of another client depends on one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::store::read::TaskFilter;
use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::replica_faults::sessions;
use crate::replica_faults::three::{Replicas, moment};
use crate::support::campaign::{random, rounds};
use crate::support::net::tls::client_config;
use crate::support::process::Receiver;
use crate::support::recorder::entry::completed;
use crate::support::recorder::recording::Recording;
use crate::support::store::database::Bind;
use crate::support::store::postgres::{Cluster, Options};
use crate::support::store::{TestStore, check};
use crate::support::until::PATIENCE;

const AT_ONCE: usize = 24;

/// Sessions of three receivers. Each has its readers, one recorder and one listener.
const SESSIONS_MAX: i64 = 3 * 10;

/// A request, its address, and when the client disconnects.
struct Cut {
    bytes: Vec<u8>,
    to: SocketAddr,
    is_tls: bool,
    is_reset: bool,
    pause: Duration,
}

impl Cut {
    /// Returns a request of any kind that is cut at any byte; one in three is sent whole.
    fn of(receiver: &Receiver, number: usize, random: &mut fastrand::Rng) -> Self {
        let id = format!("task-cut-{number}");
        let (is_tls, mut bytes) = match random.u8(..5) {
            0 => (false, get(&format!("/v1/tasks/{id}"))),
            1 => (false, get("/v1/tasks?limit=50")),
            2 => (false, get("/readyz")),
            3 => (
                false,
                post(
                    "/v1/images/generations",
                    r#"{"model":"z-image-turbo","prompt":"a cat"}"#,
                ),
            ),
            _ => (
                true,
                post(
                    &format!("/callbacks/{}", receiver.token),
                    &format!(r#"{{"id":"{id}","status":"processing","progress":10}}"#),
                ),
            ),
        };
        if random.u8(..3) > 0 {
            bytes.truncate(random.usize(1..=bytes.len()));
        }
        Self {
            bytes,
            to: if is_tls {
                receiver.public()
            } else {
                receiver.internal()
            },
            is_tls,
            is_reset: random.bool(),
            pause: moment(random, Duration::from_millis(20)),
        }
    }

    /// Sends the request and disconnects. Bytes that can no longer be sent are dropped.
    async fn leave(self, certificate_pem: &str) {
        let tcp = TcpStream::connect(self.to).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        if self.is_reset {
            tcp.set_zero_linger().unwrap();
        }
        if self.is_tls {
            let connector = TlsConnector::from(Arc::new(client_config(certificate_pem)));
            let name = ServerName::try_from("localhost").unwrap();
            let tls = connector.connect(name, tcp).await.unwrap();
            self.send(tls).await;
        } else {
            self.send(tcp).await;
        }
    }

    async fn send(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let _ = stream.write_all(&self.bytes).await;
        let _ = stream.flush().await;
        sleep(self.pause).await;
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json");
    format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_hang_up_leave_no_transaction_behind() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let store = TestStore::on_cluster(&cluster).await;
    let (mut random, rounds) = (random(), rounds(40, 400));
    let mut replicas = Replicas::start(store).await;
    let load = replicas.load();
    for round in 0..usize::try_from(rounds).unwrap() {
        let cuts = (0..AT_ONCE).map(|one| {
            let receiver = &replicas.receivers[one % 3];
            let cut = Cut::of(receiver, round * AT_ONCE + one, &mut random);
            cut.leave(&receiver.certificate_pem)
        });
        let leaving: Vec<_> = cuts.collect();
        timeout(PATIENCE, join_all(leaving))
            .await
            .expect("they leave");
    }
    load.is_acknowledged_at(&[0, 1, 2]).await;
    let report = load.stop().await;
    replicas.assert_whole(&report).await;
    report.assert_statuses();
    let longest = report.assert_in_time(|_| true);
    assert_none_was_forgotten(&cluster);
    assert_pools_are_well(&replicas).await;
    let cut = usize::try_from(rounds).unwrap() * AT_ONCE;
    println!("{cut} requests cut beside them; the longest answer took {longest:?}");
}

/// Asserts that the server never had to end a session that was idle in a transaction.
fn assert_none_was_forgotten(cluster: &Cluster) {
    let log = cluster.log();
    let mut ended = log
        .lines()
        .filter(|line| line.contains("idle-in-transaction"));
    assert_eq!(ended.next(), None);
}

/// Asserts that the pools still work: sends more queries at once than there are connections, and
/// the number of sessions stays within its limit.
async fn assert_pools_are_well(replicas: &Replicas) {
    for receiver in &replicas.receivers {
        let asked = join_all((0..16).map(|_| receiver.status("/v1/tasks?limit=5"))).await;
        assert!(asked.iter().all(|status| *status == Some(200)), "{asked:?}");
    }
    let database = replicas.store().connect().await;
    sessions::until_there_are(&database, "true", |count| count <= SESSIONS_MAX).await;
    database.close().await;
}

/// Closer to the driver: futures are dropped at any of their steps, including those steps that an
/// HTTP client cannot interrupt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_and_entries_that_are_dropped_leave_no_transaction_behind() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let store = TestStore::on_cluster(&cluster).await;
    let (mut random, rounds) = (random(), rounds(300, 4000));
    let replica = Recording::start(store.url()).await;
    let database = store.connect().await;
    let all = TaskFilter::default();
    for number in 0..rounds {
        // The longer ones have time to make a connection; the shorter ones are cut in the middle of
        // a query.
        let patience = [(); 6].map(|()| moment(&mut random, Duration::from_millis(20)));
        let entry = completed(&format!("task-dropped-{number}"));
        let asks = patience[1..].iter().map(async |patience| {
            let _ = timeout(*patience, replica.store.ping()).await;
            let _ = timeout(*patience, replica.store.list_tasks(&all, 5)).await;
        });
        let records = timeout(patience[0], replica.recorder.record(entry));
        let _ = tokio::join!(join_all(asks), records);
        let id = format!("task-kept-{number}");
        replica.record(&id).await;
        let sql = "SELECT count(*) FROM task WHERE task_id = $1";
        let seen: i64 = database.value(sql, &[Bind::Text(&id)]).await;
        assert_eq!(seen, 1, "{id} was acknowledged");
    }
    sessions::none_is_left_in_a_transaction(store.url()).await;
    assert_none_was_forgotten(&cluster);
    replica.store.ping().await.unwrap();
    let faults = check::faults(&store, &[]).await;
    assert!(faults.is_empty(), "{faults:#?}");
    replica.end().await;
}
