//! Schemas that this program cannot use. The start refuses them before it writes anything, and
//! `check` reports the same.

use std::fs;

use evolink_receiver::clock::Clock;
use evolink_receiver::commands::check::surroundings;
use evolink_receiver::config::{Config, Level};

use super::released::make;
use crate::support::process::Place;

const NEWER: &str =
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    SELECT 9999, 'of the future', success, checksum, 0 FROM _sqlx_migrations LIMIT 1";

/// Simulates a migration file that was edited after it was applied.
const DIFFERENT: &str = "UPDATE _sqlx_migrations SET checksum = (SELECT fingerprint FROM idempotency LIMIT 1) WHERE version = 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_not_ours_is_refused_before_anything_is_written_and_check_says_so() {
    for (change, says) in [
        (
            NEWER,
            "the database has a schema newer than this program: it has migration 9999",
        ),
        (
            DIFFERENT,
            "the database was made by a version of this program that was never released",
        ),
    ] {
        let place = Place::new();
        make(place.store(), 1).await;
        let database = place.store().connect().await;
        database.execute(change).await;
        let version = database.version().await;
        // Close this connection last, so that the log is copied into the database.
        database.close().await;
        let files = || {
            let file = place.store().file()?;
            let mark = file.with_extension("db.mark");
            Some((fs::read(&file).unwrap(), mark.exists()))
        };
        let before = files();
        let checked = checked(&place).await;
        assert!(checked.starts_with(says), "{checked}");
        assert!(files() == before, "`check` changed something");

        let output = place.run_to_end().await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(&checked), "{stderr} is not {checked}");
        assert!(files() == before, "the start changed something");
        let database = place.store().connect().await;
        if database.is_postgres() {
            assert_eq!(database.version().await, version, "the start wrote a row");
        }
        database.close().await;
    }
}

/// Returns the error that `check` finds.
async fn checked(place: &Place) -> String {
    let mut config = Config::default();
    place.store().url().clone_into(&mut config.store.url);
    let findings = surroundings(&config, &Clock::System).await;
    let mut about_it = findings
        .into_iter()
        .filter(|finding| finding.key == "store.url");
    let finding = about_it.next().unwrap();
    assert_eq!(finding.level, Level::Error, "{finding}");
    finding.message
}
