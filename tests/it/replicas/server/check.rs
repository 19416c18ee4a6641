//! `check` of a store on a server: what it finds, and that it changes nothing there.

use evolink_receiver::store::Store;

use super::findings::findings;
use crate::support::store::database::Database;
use crate::support::store::postgres::{Cluster, Options};
use crate::support::store::{TestStore, schema};

async fn tables(database: &Database) -> i64 {
    let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    database.value(sql, &[]).await
}

#[tokio::test]
async fn a_store_on_a_server_is_judged_and_not_touched() {
    let Some(cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let store = TestStore::on_cluster(&cluster).await;
    let database = store.connect().await;
    let name = store.url().rsplit_once('/').unwrap().1.to_owned();
    let start = |level: &str| {
        format!(
            "{level} store.url: postgres database {name} at {}: ",
            cluster.address()
        )
    };
    let expected = start("ok     ") + "answers; the start makes our tables";
    assert_eq!(findings(store.url()).await, [expected]);
    assert_eq!(tables(&database).await, 0);

    Store::open(store.url()).await.unwrap().close().await;
    let version = database.version().await;
    let expected = start("ok     ") + &format!("schema {}", schema::newest());
    assert_eq!(findings(store.url()).await, [expected]);

    database
        .execute("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1")
        .await;
    let newer = findings(store.url()).await;
    assert_eq!(newer.len(), 1, "{newer:?}");
    assert!(
        newer[0].starts_with("error   store.url: the database has a schema newer"),
        "{newer:?}"
    );
    database
        .execute("UPDATE _sqlx_migrations SET version = 1 WHERE version = 9999")
        .await;
    assert_ne!(database.version().await, version, "only we wrote");
}

#[tokio::test]
async fn check_warns_of_a_server_that_does_not_wait_for_its_disk() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let careless = findings(&cluster.url("postgres")).await;
    assert_eq!(careless.len(), 3, "{careless:?}");
    for (line, setting) in careless[1..].iter().zip(["fsync", "full_page_writes"]) {
        assert!(line.starts_with("warning store.url: "), "{line}");
        assert!(line.contains(&format!("{setting}=off")), "{line}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_without_the_password() {
    let Some(mut cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    cluster.stop_fast().await;
    let url = cluster.url("postgres");
    let url = url.replace("postgres@", "postgres:canary-password@");
    let gone = findings(&url).await;
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone[0].starts_with("error   store.url: "), "{gone:?}");
    assert!(gone[0].contains(&cluster.address().to_string()), "{gone:?}");
    assert!(!gone[0].contains("canary"), "{gone:?}");
}
