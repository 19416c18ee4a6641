//! The rights of a role, and the settings of a server: `check` refuses what the start refuses, in
//! the same words.

use evolink_receiver::store::Store;
use evolink_receiver::store::backup::begin_epoch;

use super::findings::{findings, findings_about};
use crate::support::store::TestStore;
use crate::support::store::database::Database;
use crate::support::store::postgres::{Cluster, Options};

/// A role that may connect, and nothing else.
const ROLE: &str = "CREATE ROLE receiver LOGIN; GRANT USAGE ON SCHEMA public TO receiver";

/// All rights that a receiver needs on an existing schema.
const USE: &str = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO receiver;
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO receiver";

/// Creates a fresh database in which `receiver` is a role. Returns its URL as that role, and a
/// superuser's connection.
async fn as_role(cluster: &Cluster) -> (TestStore, String, Database) {
    let store = TestStore::on_cluster(cluster).await;
    let admin = store.connect().await;
    admin.execute("DROP ROLE IF EXISTS receiver").await;
    admin.execute(ROLE).await;
    let url = store.url().replace("postgres@", "receiver@");
    (store, url, admin)
}

/// Asserts that both refuse in the same words, which contain `word`.
async fn are_refused(url: &str, what: &str, word: &str) {
    let found = findings(url).await;
    let refused = Store::open(url).await.err().map(|error| error.to_string());
    let refused = refused.unwrap_or_else(|| panic!("{what}: the start is not refused"));
    assert_eq!(found, [format!("error   store.url: {refused}")], "{what}");
    assert!(refused.contains(word), "{what}: {refused}");
    // That is a line of PostgreSQL's source.
    assert!(!refused.contains(" at line "), "{what}: {refused}");
}

/// Asserts that neither refuses.
async fn are_content(url: &str, what: &str) {
    let found = findings(url).await;
    assert!(found[0].starts_with("ok     "), "{what}: {found:?}");
    let opened = Store::open(url).await;
    opened
        .unwrap_or_else(|error| panic!("{what}: {error}"))
        .close()
        .await;
}

async fn cluster() -> Option<Cluster> {
    Cluster::start(Options::durable()).await
}

#[tokio::test]
async fn the_right_to_create_is_needed_only_where_there_is_something_to_create() {
    let Some(cluster) = cluster().await else {
        return;
    };
    let (store, url, admin) = as_role(&cluster).await;
    are_refused(
        &url,
        "nothing is there",
        "run GRANT CREATE ON SCHEMA public TO this role",
    )
    .await;
    let ring = findings_about("callback_tokens.key_file", &url).await;
    assert!(
        ring[0].starts_with("ok     "),
        "no store is there: {ring:?}"
    );
    Store::open(store.url()).await.unwrap().close().await;
    admin.execute(USE).await;
    are_content(&url, "the schema is there").await;
    admin
        .execute("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .await;
    are_refused(
        &url,
        "an upgrade of another's tables",
        "as the owner of the tables",
    )
    .await;
}

#[tokio::test]
async fn each_right_on_a_table_that_is_missing_is_named() {
    let Some(cluster) = cluster().await else {
        return;
    };
    let (store, url, admin) = as_role(&cluster).await;
    Store::open(store.url()).await.unwrap().close().await;
    admin.execute(USE).await;
    for (right, table) in [
        ("SELECT", "_sqlx_migrations"),
        ("INSERT", "event"),
        ("SELECT", "task"),
        ("UPDATE", "delivery"),
        ("DELETE", "idempotency"),
    ] {
        admin
            .execute(&format!("REVOKE {right} ON {table} FROM receiver"))
            .await;
        let advice = format!("{right} on {table}: run GRANT {right} ON {table} TO this role");
        are_refused(&url, table, &advice).await;
        admin
            .execute(&format!("GRANT {right} ON {table} TO receiver"))
            .await;
    }
    are_content(&url, "all rights are back").await;
}

#[tokio::test]
async fn a_search_path_without_a_schema_is_refused() {
    let Some(cluster) = cluster().await else {
        return;
    };
    let (_store, url, admin) = as_role(&cluster).await;
    admin
        .execute("GRANT CREATE ON SCHEMA public TO receiver")
        .await;
    admin
        .execute("ALTER ROLE receiver SET search_path = elsewhere")
        .await;
    are_refused(&url, "no such schema", "run GRANT USAGE ON SCHEMA").await;
    admin
        .execute("CREATE SCHEMA elsewhere AUTHORIZATION receiver")
        .await;
    are_content(&url, "it is there").await;
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_refused() {
    let Some(mut cluster) = cluster().await else {
        return;
    };
    let (store, url, admin) = as_role(&cluster).await;
    admin
        .execute("GRANT CREATE ON SCHEMA public TO receiver")
        .await;
    for round in ["an empty database", "our schema"] {
        admin
            .execute("ALTER ROLE receiver SET default_transaction_read_only = on")
            .await;
        are_refused(&url, round, "remove that setting, or use another role").await;
        admin
            .execute("ALTER ROLE receiver RESET default_transaction_read_only")
            .await;
        are_content(&url, round).await;
    }
    admin.close().await;
    cluster.stop_fast().await;
    cluster.make_standby();
    cluster.start_again().await;
    are_refused(store.url(), "a standby", "standby").await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_found_before_anything_is_made() {
    let Some(cluster) = cluster().await else {
        return;
    };
    for (what, sql) in [
        (
            "table event",
            "CREATE TABLE event (x INT); ALTER TABLE event OWNER TO receiver",
        ),
        ("view task", "CREATE VIEW task AS SELECT 1"),
        (
            "index task_client",
            "CREATE TABLE other (x INT); CREATE INDEX task_client ON other (x)",
        ),
        ("type delivery", "CREATE DOMAIN delivery AS INT"),
        (
            "function epoch_stays",
            "CREATE FUNCTION epoch_stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        ),
    ] {
        let (_store, url, admin) = as_role(&cluster).await;
        admin
            .execute("GRANT CREATE ON SCHEMA public TO receiver")
            .await;
        admin.execute(sql).await;
        let says = format!("{what} exists already in schema public, and is not of this program");
        are_refused(&url, what, &says).await;
        admin.execute("DROP OWNED BY receiver").await;
    }
}

#[tokio::test]
async fn a_database_without_plpgsql_is_refused() {
    let Some(cluster) = cluster().await else {
        return;
    };
    let (_store, url, admin) = as_role(&cluster).await;
    admin
        .execute("GRANT CREATE ON SCHEMA public TO receiver; DROP EXTENSION plpgsql")
        .await;
    are_refused(&url, "no plpgsql", "run CREATE EXTENSION plpgsql").await;
    admin.execute("CREATE EXTENSION plpgsql").await;
    are_content(&url, "it is back").await;
    admin.execute("DROP OWNED BY receiver").await;
}

#[tokio::test]
async fn row_level_security_and_lost_rows_are_found() {
    let Some(cluster) = cluster().await else {
        return;
    };
    let (store, url, admin) = as_role(&cluster).await;
    Store::open(store.url()).await.unwrap().close().await;
    admin.execute(USE).await;
    for table in ["task", "recorder_turn"] {
        let set = async |what: &str| {
            let sql = format!("ALTER TABLE {table} {what} ROW LEVEL SECURITY");
            admin.execute(&sql).await;
        };
        set("ENABLE").await;
        let says = format!("run ALTER TABLE {table} DISABLE ROW LEVEL SECURITY");
        are_refused(&url, table, &says).await;
        set("DISABLE").await;
    }
    for (table, row) in [
        ("recorder_turn", "(1, 0)"),
        ("quarantine_total", "(1, 0, 0)"),
    ] {
        admin.execute(&format!("DELETE FROM {table}")).await;
        are_refused(
            &url,
            table,
            &format!("{table} has no row: restore the database"),
        )
        .await;
        admin
            .execute(&format!("INSERT INTO {table} VALUES {row}"))
            .await;
    }
    are_content(&url, "all is back").await;
}

#[tokio::test]
async fn a_new_epoch_needs_no_right_to_create_where_the_schema_is_current() {
    let Some(cluster) = cluster().await else {
        return;
    };
    let (store, url, admin) = as_role(&cluster).await;
    Store::open(store.url()).await.unwrap().close().await;
    admin.execute(USE).await;
    let begun = begin_epoch(&url.as_str().into()).await;
    let begun = begun.unwrap_or_else(|error| panic!("{error}"));
    let sql = "SELECT name FROM epoch ORDER BY number DESC LIMIT 1";
    let newest: String = admin.value(sql, &[]).await;
    assert_eq!(newest, begun.as_str());
}
