//! PgBouncer in front of the server. A session keeps its connection in session mode only, which is
//! the mode that the program needs.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::findings::findings;
use crate::support::process::Place;
use crate::support::process::load::callback;
use crate::support::store::TestStore;
use crate::support::store::postgres::pooler::Pooler;
use crate::support::store::postgres::{Cluster, Options};

/// Returns a place that uses `cluster` through a PgBouncer in `mode`, and its `store.url`.
async fn behind(cluster: &Cluster, mode: &str) -> Option<(Place, Pooler, String)> {
    let pooler = Pooler::start(cluster, mode).await?;
    let place = Place::on(TestStore::on_cluster(cluster).await);
    let direct = place.store().url().to_owned();
    let url = pooler.url(cluster, &direct);
    place.configure(&direct, &url);
    Some((place, pooler, url))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_in_session_mode_with_defaults_works_like_the_server() {
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let Some((place, _pooler, url)) = behind(&cluster, "session").await else {
        return;
    };
    let found = findings(&url).await;
    assert!(
        found[0].ends_with("answers; the start makes our tables"),
        "{found:?}"
    );
    let receiver = place.start().await;
    let done = callback(0, 2);
    // The waiter is woken by a notification, which also passes through PgBouncer.
    assert_eq!(receiver.callback(done.body).await, Some((200, None)));
    let (status, tasks) = receiver.get("/v1/tasks?limit=5").await.unwrap();
    assert_eq!(status, 200, "{tasks}");
    assert!(tasks.to_string().contains(&done.task_id), "{tasks}");
    let log = receiver.log();
    assert!(!log.contains("do not arrive"), "{log}");
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pgbouncer_in_another_mode_is_refused_at_the_start_and_by_check() {
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    for mode in ["transaction", "statement"] {
        let Some((place, _pooler, url)) = behind(&cluster, mode).await else {
            return;
        };
        let output = place.run_to_end().await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(78), "{mode}: {said}");
        assert!(said.contains("session mode"), "{mode}: {said}");
        let found = findings(&url).await;
        assert_eq!(found.len(), 1, "{mode}: {found:?}");
        assert!(found[0].starts_with("error   store.url: "), "{found:?}");
        assert!(found[0].contains("session mode"), "{found:?}");
    }
}

/// The pooler accepts one client: there is no second session to compare with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pgbouncer_that_accepts_one_client_is_recognised_too() {
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    for (mode, is_refused) in [("transaction", true), ("session", false)] {
        let settings = format!("{mode}\nmax_client_conn = 1");
        let Some((place, _pooler, url)) = behind(&cluster, &settings).await else {
            return;
        };
        let found = findings(&url).await;
        assert_eq!(found.len(), 1, "{mode}: {found:?}");
        assert_eq!(found[0].contains("session mode"), is_refused, "{found:?}");
        if is_refused {
            let output = place.run_to_end().await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{mode}: {said}");
        } else {
            assert!(found[0].starts_with("ok     "), "{found:?}");
        }
    }
}

/// PgBouncer lets a connection that is too many wait. Reads share the connections that there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_wait_where_the_pool_of_pgbouncer_is_smaller_than_ours() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let settings = "session\ndefault_pool_size = 3\nserver_login_retry = 1";
    let Some((place, _pooler, _url)) = behind(&cluster, settings).await else {
        return;
    };
    let receiver = place.start().await;
    assert_eq!(
        receiver.callback(callback(0, 0).body).await,
        Some((200, None))
    );
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        let reads = (0..8).map(|_| receiver.status("/v1/tasks?limit=5"));
        for status in join_all(reads).await {
            assert_eq!(status, Some(200), "{}", receiver.log_tail());
        }
        let readiness = receiver.status("/readyz").await;
        assert_eq!(readiness, Some(200), "{}", receiver.log_tail());
    }
    receiver.stop().await;
}
