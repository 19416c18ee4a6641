//! Starts that must be refused, each with its exit code and one line, and one with very many tasks
//! that must succeed.

use std::fs;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::time::Instant;

use crate::support::machine::needs::{self, Root};
use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::store::check;

/// Returns the exit code and the stderr line of a refused start.
fn refusal(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
    (output.status.code(), stderr)
}

#[tokio::test]
async fn a_second_process_is_kept_off_the_store() {
    let place = Place::new();
    let receiver = place.start().await;
    let (code, line) = refusal(&place.run_to_end().await);
    assert_eq!(code, Some(75), "{line}");
    assert!(line.contains("in use by another process"), "{line}");
    assert_eq!(
        receiver.status("/readyz").await,
        Some(200),
        "the first one serves on"
    );
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_key() {
    let place = Place::new();
    let _taken = TcpListener::bind(place.public()).unwrap();
    let (code, line) = refusal(&place.run_to_end().await);
    assert_eq!(code, Some(69), "{line}");
    assert!(line.contains("public.listen"), "{line}");
}

#[tokio::test]
async fn a_store_under_another_name_is_asked_about_before_it_is_called_lost() {
    let place = Place::new();
    if place.store().url().starts_with("postgres") {
        return;
    }
    place.start().await.stop().await;
    place.configure("receiver.db", "other.db");
    let (code, line) = refusal(&place.run_to_end().await);
    assert_eq!(code, Some(65), "{line}");
    let database = place.data().join("other.db");
    let says = format!("there is no database at {}, although ", database.display());
    assert!(line.contains(&says), "{line}");
    assert!(line.contains("is store.url right?"), "{line}");
    let found = place.check_of_store();
    let start = format!("error   store.url: {says}");
    assert!(found.starts_with(&start), "{found}");
}

/// SQLite's own errors name neither the file nor the right.
#[tokio::test]
async fn files_that_this_process_may_not_use_are_named_by_check_and_by_the_start() {
    let mut place = Place::new();
    if place.store().url().starts_with("postgres") {
        return;
    }
    place.start().await.stop().await;
    let at = |name: &str| place.data().join(name);
    for name in [
        "receiver.db.mark.new",
        "receiver.db-shm",
        "receiver.db-journal",
    ] {
        fs::create_dir(at(name)).unwrap();
        assert_refused(&place, name, "it is a folder").await;
        fs::remove_dir(at(name)).unwrap();
    }
    if needs::are_met(Root::Needed, &["setpriv"]) {
        let scratch = place.data().parent().unwrap().to_owned();
        let chown = |owner: &str, path: &Path| {
            let status = Command::new("chown").args(["-R", owner]).arg(path).status();
            assert!(status.unwrap().success());
        };
        fs::write(at("receiver.db-wal"), "").unwrap();
        fs::write(at("receiver.db-shm"), "").unwrap();
        chown("65534:65534", &scratch);
        place.launch_through(&[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]);
        let at = |name: &str| place.data().join(name);
        for name in [
            "receiver.db",
            "receiver.db.lock",
            "receiver.db.mark",
            "receiver.db-wal",
        ] {
            chown("0:0", &at(name));
            fs::set_permissions(at(name), Permissions::from_mode(0o600)).unwrap();
            let advice = format!("chown 65534:65534 {}", at(name).display());
            assert_refused(&place, name, &advice).await;
            chown("65534:65534", &at(name));
        }
        fs::set_permissions(at("receiver.db-wal"), Permissions::from_mode(0o444)).unwrap();
        assert_refused(&place, "receiver.db-wal", "chmod u+rw").await;
        fs::remove_file(at("receiver.db-wal")).unwrap();
        fs::remove_file(at("receiver.db-shm")).unwrap();
        fs::set_permissions(place.data(), Permissions::from_mode(0o555)).unwrap();
        assert_refused(&place, "data", "chmod u+wx").await;
        fs::set_permissions(place.data(), Permissions::from_mode(0o700)).unwrap();
    }
    place.start().await.stop().await;
}

/// Both `check` and the start refuse the store with a line that names `file` and says `advice`.
async fn assert_refused(place: &Place, file: &str, advice: &str) {
    let found = place.check_of_store();
    let (code, line) = refusal(&place.run_to_end().await);
    assert!(found.starts_with("error"), "{file}: {found}");
    for said in [&found, &line] {
        assert!(
            said.contains(file) && said.contains(advice),
            "{file}: {said}"
        );
    }
    assert_eq!(code, Some(78), "{line}");
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_left_alone() {
    let place = Place::new();
    place.start().await.stop().await;
    let database = place.store().connect().await;
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        SELECT 9999, 'of the future', success, checksum, 0 FROM _sqlx_migrations LIMIT 1";
    database.execute(newer).await;
    let version = database.version().await;
    database.close().await;
    let read = || {
        place
            .store()
            .file()
            .map(|file| std::fs::read(file).unwrap())
    };
    let before = read();
    let (code, line) = refusal(&place.run_to_end().await);
    assert_eq!(code, Some(78), "{line}");
    assert!(line.contains("newer than this program"), "{line}");
    assert!(before == read(), "the file is as it was");
    let database = place.store().connect().await;
    if database.is_postgres() {
        assert_eq!(
            database.version().await,
            version,
            "its rows are as they were"
        );
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_not_recreated() {
    let place = Place::new();
    let mut receiver = place.start().await;
    let load = Load::new();
    let running = load.start(&receiver);
    running.reached(200).await;
    running.stop().await;
    receiver.terminate();
    assert_eq!(receiver.ended().await.code(), Some(0));
    // On a busy machine the receiver may not have checkpointed the log yet.
    let database = place.store().connect().await;
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    database.close().await;
    let whole = std::fs::read(place.database()).unwrap();
    assert!(whole.len() > 16 * 4096, "there is something to damage");

    let garbage: Vec<u8> = b"not a database. ".repeat(1024);
    let mut schema_overwritten = whole.clone();
    schema_overwritten[100..4096].fill(0xa5);
    let damaged = [
        ("no database", garbage),
        ("the schema is overwritten", schema_overwritten),
        (
            "half of it is gone",
            whole[..whole.len() / 8192 * 4096].to_vec(),
        ),
    ];
    for (what, bytes) in damaged {
        std::fs::write(place.database(), &bytes).unwrap();
        let (code, line) = refusal(&place.run_to_end().await);
        assert_eq!(code, Some(65), "{what}: {line}");
        let found = place.check_of_store();
        for said in [&line, &found] {
            let names_it = said.contains(&place.database().display().to_string());
            assert!(names_it && said.contains("restore"), "{what}: {said}");
        }
        let after = std::fs::read(place.database()).unwrap();
        assert!(after == bytes, "{what}: left as it was found");
    }
    std::fs::write(place.database(), &whole).unwrap();
    place.start().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn a_store_with_a_hundred_thousand_open_tasks_is_soon_ready() {
    let place = Place::new();
    place.start().await.stop().await;
    let database = place.store().connect().await;
    // Half of the tasks are due immediately.
    let now = jiff::Timestamp::now().as_millisecond();
    let number = database.either("format('%08x', i)", "lpad(to_hex(i), 8, '0')");
    database
        .execute(&format!(
            "INSERT INTO task (submission_id, task_id, origin, state, progress, source, observations, submitted_at,
                next_poll_at, polls, empty_polls, missed_polls)
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
            SELECT {number} || '-0000-7000-8000-000000000000', 'task-open-' || i, 'standing', 'processing', 10,
                'callback', 0, {now}, {now} + i % 2 * 3600000, 0, 0, 0 FROM n"
        ))
        .await;
    database.close().await;

    let start = Instant::now();
    let mut receiver = place.start().await;
    println!("ready after {:?} with 100,000 open tasks", start.elapsed());
    let body = r#"{"id":"task-open-77777","status":"completed","results":["https://files.evolink.ai/a.webp"]}"#;
    let start = Instant::now();
    assert_eq!(receiver.callback(body.to_owned()).await, Some((200, None)));
    println!("a callback among them took {:?}", start.elapsed());
    let (status, task) = receiver.get("/v1/tasks/task-open-77777").await.unwrap();
    assert_eq!((status, task["status"].as_str()), (200, Some("completed")));
    receiver.terminate();
    assert_eq!(receiver.ended().await.code(), Some(0));
}

/// A process that is killed while it creates the database leaves a rollback journal.
#[tokio::test]
async fn a_start_after_a_kill_that_left_a_rollback_journal_undoes_what_was_begun() {
    let place = Place::new();
    let Some(database) = place.store().file() else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let other = scratch.path().join("other.db");
    let options = SqliteConnectOptions::new()
        .filename(&other)
        .create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    // Exceed the cache, so that part of the transaction is in the file before it ends.
    let begun = "PRAGMA cache_size = 4; BEGIN; CREATE TABLE begun (body BLOB);
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 200)
        INSERT INTO begun SELECT randomblob(3000) FROM number";
    sqlx::raw_sql(begun).execute(&mut connection).await.unwrap();
    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::copy(&other, &database).unwrap();
    let journal = |of: &Path| format!("{}-journal", of.display());
    std::fs::copy(journal(&other), journal(&database)).unwrap();
    assert!(std::fs::metadata(&database).unwrap().len() > 100_000);
    place.start().await.stop().await;
    let database = place.store().connect().await;
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'begun'";
    let begun: i64 = database.value(sql, &[]).await;
    assert_eq!(begun, 0);
}
