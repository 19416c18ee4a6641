//! `check` of a store in a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use evolink_receiver::store::Store;

use super::place::Place;
use crate::support::store::schema;

#[tokio::test]
async fn a_store_is_judged_without_being_opened_by_us() {
    let place = Place::new();
    assert_eq!(
        place.store().await,
        "ok      store.url: receiver.db: will be made"
    );
    let room = place.finding("store.min_free").await;
    assert!(room.ends_with(" MiB are free"), "{room}");
    let store = Store::open(&place.config.store.url).await.unwrap();
    let in_use = format!(
        "ok      store.url: receiver.db: in use by process {}",
        std::process::id()
    );
    assert_eq!(place.store().await, in_use);
    // The lock was not touched either: no other process can take it.
    assert!(Store::open(&place.config.store.url).await.is_err());

    let other = Place::new();
    for name in ["receiver.db", "receiver.db-wal"] {
        fs::copy(place.path(name), other.path(name)).unwrap();
    }
    let line = "ok      store.url: receiver.db: the start folds in its write-ahead log";
    assert_eq!(other.store().await, line);
    store.close().await;
    drop(store);
    let schema = schema::newest();
    assert_eq!(
        place.store().await,
        format!("ok      store.url: receiver.db: schema {schema}")
    );
    fs::set_permissions(place.database(), fs::Permissions::from_mode(0o644)).unwrap();
    let open = place.store().await;
    assert!(
        open.ends_with(
            "warning store.url: receiver.db: others may read it, prompts and all: mode 644"
        ),
        "{open}"
    );
}

#[tokio::test]
async fn a_store_that_would_stop_the_start_is_an_error() {
    let place = Place::new();
    fs::write(place.database(), "").unwrap();
    fs::set_permissions(place.database(), fs::Permissions::from_mode(0o600)).unwrap();
    let nothing = place.store().await;
    assert!(
        nothing.starts_with("warning store.url: receiver.db: a database with nothing"),
        "{nothing}"
    );
    fs::write(place.database(), "no database at all. ".repeat(500)).unwrap();
    let damaged = place.store().await;
    assert!(
        damaged.starts_with("error   store.url: the database is damaged: "),
        "{damaged}"
    );

    fs::remove_file(place.database()).unwrap();
    place.keep_store().await;
    let pool = sqlx::SqlitePool::connect(&place.config.store.url)
        .await
        .unwrap();
    let newer = "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time
        FROM _sqlx_migrations LIMIT 1";
    sqlx::query(newer).execute(&pool).await.unwrap();
    pool.close().await;
    let newer = place.store().await;
    assert!(
        newer.starts_with("error   store.url: the database has a schema newer"),
        "{newer}"
    );
}

#[tokio::test]
async fn a_store_in_a_folder_that_cannot_be_made_is_an_error() {
    let mut place = Place::new();
    place.config.store.url = "sqlite:/proc/x/receiver.db".to_owned();
    let finding = place.store().await;
    let start = "error   store.url: /proc/x/receiver.db: absent, and cannot be made: ";
    assert!(finding.starts_with(start), "{finding}");
}

#[tokio::test]
async fn a_store_whose_url_is_wrong_is_not_looked_at() {
    let mut place = Place::new();
    for url in [
        "postgres://u@127.0.0.1:1/x?port=abc",
        "postgres://u@127.0.0.1:1/x?sslmode=requird",
        "mysql://x/y",
        "sqlite:receiver.db?mode=rwc",
    ] {
        url.clone_into(&mut place.config.store.url);
        assert_eq!(place.store().await, "", "{url}");
    }
}
