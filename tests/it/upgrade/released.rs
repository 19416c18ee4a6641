//! The schemas of the releases, and stores of them with data.
//!
//! A release adds a line to `RELEASED`, and a file of data, `NNNN.sql`, for its newest schema. From
//! then on the migrations up to that schema never change.

use std::path::PathBuf;
use std::str::FromStr as _;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};

use crate::support::store::TestStore;
use crate::support::store::database::Database;

/// A released migration, with the SHA-256 of its two files.
pub struct Released {
    pub version: i64,
    pub file: &'static str,
    pub sqlite: &'static str,
    pub postgres: &'static str,
    data: &'static str,
}

pub const RELEASED: [Released; 1] = [Released {
    version: 1,
    file: "0001_tasks.sql",
    sqlite: "61bddd9e88c074265ef2bbc19afedc82a4c8c8527b98975959f6ae62a466d400",
    postgres: "dbe9c33493181d828848222ae85a204a3eeb2bf3331d31a742637da7446adaa6",
    data: include_str!("0001.sql"),
}];

pub fn folder(engine: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(engine)
}

/// Fills `store` as the release with schema `version` left it: its migrations, applied as it
/// applied them, and data.
pub async fn make(store: &TestStore, version: i64) {
    make_and_upgrade(store, version, version).await;
}

/// Like `make`. Then applies the migrations up to `newest`, which may not be released.
pub async fn make_and_upgrade(store: &TestStore, version: i64, newest: i64) {
    let released = RELEASED.iter().find(|released| released.version == version);
    let data = released.unwrap().data;
    let now = jiff::Timestamp::now().as_millisecond().to_string();
    let data = data.replace("NOW", &now);
    let database = if let Some(file) = store.file() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let options = SqliteConnectOptions::from_str(store.url()).unwrap();
        let options = options.create_if_missing(true);
        let pool = SqlitePool::connect_with(options.journal_mode(SqliteJournalMode::Wal)).await;
        Database::Sqlite(pool.unwrap())
    } else {
        Database::Postgres(PgPool::connect(store.url()).await.unwrap())
    };
    let migrations = folder(database.either("sqlite", "postgres"));
    let migrator = Migrator::new(migrations).await.unwrap();
    match &database {
        Database::Sqlite(pool) => migrator.run_to(version, pool).await.unwrap(),
        Database::Postgres(pool) => migrator.run_to(version, pool).await.unwrap(),
    }
    let bytes = database.either("x'", r"bytea '\x");
    database.execute(&data.replace("BYTES'", bytes)).await;
    match &database {
        Database::Sqlite(pool) => migrator.run_to(newest, pool).await.unwrap(),
        Database::Postgres(pool) => migrator.run_to(newest, pool).await.unwrap(),
    }
    database.close().await;
}
