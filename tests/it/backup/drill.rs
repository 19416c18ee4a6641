//! The recovery drill: back up a service under load, lose its store, and restore it with the
//! commands of `docs/backup.md`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{at, events, modes, newest, succeed};
use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::store::{check, is_postgres};

const PAGE: &str = include_str!("../../../docs/backup.md");

/// Returns the lines of the page's shell blocks that begin with `word`.
fn commands(word: &str) -> Vec<&'static str> {
    let blocks = PAGE.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let words = format!("evolink-receiver {word} ");
    lines.filter(|line| line.starts_with(&words)).collect()
}

/// Runs a command of the page in a folder that has the files which the command names.
async fn run(place: &Place, line: &str) -> String {
    let folder = place.data().parent().unwrap().to_owned();
    fs::copy(place.config(), folder.join("receiver.toml")).unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let line = line.to_owned();
    let output = spawn_blocking(move || {
        let mut shell = Command::new("sh");
        shell.args(["-euc", &line]).current_dir(folder);
        shell.env("PATH", path).output().unwrap()
    });
    let output = output.await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_of_the_page_loses_nothing_that_was_acknowledged_before_the_backup() {
    if is_postgres() {
        return;
    }
    let (place, load) = (Place::new(), Load::new());
    let receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(300).await;
    let before = load.acknowledged();
    run(&place, commands("backup")[0]).await;
    let read = newest(&receiver).await;
    running.reached(running.count() + 100).await;
    running.stop().await;
    assert!(
        place.data().join("receiver.db-wal").exists(),
        "the service's own"
    );
    receiver.stop().await;
    let restores = commands("restore");
    let restore = restores.iter().find(|line| line.contains("--replace"));
    let said = run(
        &place,
        restore.expect("a command restores over what is there"),
    )
    .await;
    assert!(said.contains("moved aside"), "{said}");
    let receiver = place.start().await;
    let faults = check::faults(place.store(), &before).await;
    assert!(faults.is_empty(), "{faults:#?}");
    // This reader has read further than the backup goes.
    let (status, body) = receiver
        .get(&format!("/v1/events?after={read}"))
        .await
        .unwrap();
    assert_eq!(status, 410, "{body}");
    let resume = body["error"]["resume_after"].as_str().unwrap().to_owned();
    let first = events(&receiver, "after=0&limit=1").await;
    let first = first["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        first[..8],
        *read.epoch.as_str(),
        "what is in the backup keeps its ids"
    );
    assert_ne!(resume[..8], *read.epoch.as_str());
    // Callbacks that EvoLink sends again are recorded under new ids.
    let running = load.start(&receiver);
    running.reached(50).await;
    running.stop().await;
    let page = events(&receiver, &format!("after={resume}&limit=200")).await;
    let epochs: BTreeSet<&str> = of_page(&page).map(|id| &id[..8]).collect();
    assert_eq!(epochs, BTreeSet::from([&resume[..8]]));
    receiver.stop().await;
}

fn of_page(page: &Value) -> impl Iterator<Item = &str> {
    let events = page["data"].as_array().unwrap().iter();
    events.map(|event| event["id"].as_str().unwrap())
}

/// The backup is restored on another, still empty machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_and_readable_by_nobody_else() {
    if is_postgres() {
        return;
    }
    let (place, other, load) = (Place::new(), Place::new(), Load::new());
    let mut receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(100).await;
    running.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = at(folder.path(), "copy");
    succeed(&place, &["backup", &copy]).await;
    assert_eq!(modes(folder.path()), [("copy".to_owned(), 0o700)]);
    let files = [
        "callback_tokens.key",
        "forward.whsec",
        "manifest.json",
        "receiver.db",
    ];
    assert_eq!(
        modes(copy.as_ref()),
        files.map(|name| (name.to_owned(), 0o600))
    );
    receiver.kill();
    // The newest tasks are still only in the write-ahead log that the kill left.
    let stopped = at(folder.path(), "stopped");
    succeed(&place, &["backup", &stopped]).await;
    succeed(&other, &["restore", &stopped]).await;
    let ring = |place: &Place| fs::read(place.data().join("callback_tokens.key")).unwrap();
    assert_eq!(ring(&place), ring(&other));
    let faults = check::faults(other.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
    for name in [
        "receiver.db",
        "receiver.db.mark",
        "callback_tokens.key",
        "forward.whsec",
    ] {
        let found = modes(other.data())
            .into_iter()
            .find(|(found, _)| found == name);
        assert_eq!(found, Some((name.to_owned(), 0o600)));
    }
    // The backed-up service itself continues unchanged.
    let receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(20).await;
    running.stop().await;
    receiver.stop().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
    let receiver = other.start().await;
    receiver.stop().await;
}

/// While another connection reads an old snapshot of the database, newer commits stay in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_what_only_the_log_has() {
    if is_postgres() {
        return;
    }
    let (place, other, load) = (Place::new(), Place::new(), Load::new());
    let receiver = place.start().await;
    let reader = place.store().connect().await;
    reader.execute("BEGIN").await;
    let before: i64 = reader.value("SELECT count(*) FROM task", &[]).await;
    let running = load.start(&receiver);
    running.reached(100).await;
    running.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = at(folder.path(), "copy");
    succeed(&place, &["backup", &copy]).await;
    let after: i64 = reader.value("SELECT count(*) FROM task", &[]).await;
    assert_eq!(
        before, after,
        "the reader kept the log from being folded in"
    );
    reader.execute("COMMIT").await;
    reader.close().await;
    receiver.stop().await;
    succeed(&other, &["restore", &copy]).await;
    let faults = check::faults(other.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn a_new_epoch_begins_without_a_restore() {
    let place = Place::new();
    place.start().await.stop().await;
    let epochs = async || {
        let database = place.store().connect().await;
        let sql = "SELECT name FROM epoch ORDER BY number";
        let epochs: Vec<String> = database.values(sql, &[]).await;
        database.close().await;
        epochs
    };
    let first = epochs().await;
    let said = succeed(&place, &["restore", "--new-epoch"]).await;
    let both = epochs().await;
    assert_eq!((first.len(), both.len()), (1, 2), "{both:?}");
    assert!(said.contains(&both[1]), "{said}");
    place.start().await.stop().await;
    assert_eq!(epochs().await, both, "the start begins no other one");
}

/// The default `store.url` is relative, and its folder does not exist on a fresh machine.
#[tokio::test]
async fn a_restore_onto_a_fresh_machine_makes_the_folder_and_works_at_once() {
    if is_postgres() {
        return;
    }
    let place = Place::new();
    place.start().await.stop().await;
    let fresh = tempfile::tempdir().unwrap();
    let copy = at(fresh.path(), "copy");
    succeed(&place, &["backup", &copy]).await;
    fs::write(fresh.path().join("receiver.toml"), "").unwrap();
    let restore = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
        command.args(["restore", "copy", "--config", "receiver.toml"]);
        command.current_dir(fresh.path()).output().unwrap()
    };
    let restored = restore();
    let stderr = String::from_utf8(restored.stderr).unwrap();
    assert_eq!(restored.status.code(), Some(0), "{stderr}");
    for name in ["receiver.db", "callback_tokens.key", "forward.whsec"] {
        assert!(fresh.path().join("data").join(name).exists(), "{name}");
    }
    assert!(!fresh.path().join("data/receiver.db.restore").exists());
    assert_eq!(restore().status.code(), Some(64), "it is in place");
}
