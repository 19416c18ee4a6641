//! One SQLite file under several names: a hard link, a symlink, a symlinked folder. Only one
//! process at a time may use the file.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use tokio::task::spawn_blocking;

use crate::support::process::Place;
use crate::support::process::command::command;
use crate::support::process::load::Load;
use crate::support::store::check;

/// Returns another place that uses the same store under another name.
fn called(place: &Place, name: &str) -> Place {
    let other = place.replica();
    other.configure("/receiver.db", &format!("/{name}"));
    other
}

fn link(place: &Place, name: &str) {
    let (data, database) = (place.data(), place.database());
    match name {
        "hard.db" => fs::hard_link(database, data.join(name)).unwrap(),
        "soft.db" => symlink("receiver.db", data.join(name)).unwrap(),
        "folder/receiver.db" => symlink(".", data.join("folder")).unwrap(),
        _ => unreachable!("{name}"),
    }
}

async fn assert_in_use(place: &Place, what: &str) {
    let output = place.run_to_end().await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{what}: {stderr}");
    assert!(
        stderr.contains("in use by another process"),
        "{what}: {stderr}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_kept_off_the_store_by_whatever_name_it_comes() {
    let place = Place::new();
    let receiver = place.start().await;
    let load = Load::new();
    let running = load.start(&receiver);
    running.reached(20).await;
    for name in ["hard.db", "soft.db", "folder/receiver.db"] {
        link(&place, name);
        assert_in_use(&called(&place, name), name).await;
    }
    // The first process continues to serve, and SQLite's own locks still hold.
    running.reached(60).await;
    running.stop().await;
    receiver.stop().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn companion_files_are_created_beside_the_real_database_file() {
    let place = Place::new();
    let elsewhere = place.data().join("elsewhere");
    fs::create_dir_all(&elsewhere).unwrap();
    // The database does not exist yet.
    symlink("elsewhere/real.db", place.database()).unwrap();
    let receiver = place.start().await;
    let load = Load::new();
    let running = load.start(&receiver);
    running.reached(20).await;
    running.stop().await;
    for suffix in ["", "-wal", ".lock", ".mark"] {
        let path = elsewhere.join(format!("real.db{suffix}"));
        assert!(path.exists(), "{}", path.display());
    }
    let real = called(&place, "elsewhere/real.db");
    assert_in_use(&real, "the real name").await;
    receiver.stop().await;
    // Under its real name the same store has its mark and all its rows.
    real.start().await.stop().await;
    fs::write(elsewhere.join("real.db"), "").unwrap();
    let output = place.run_to_end().await;
    assert_eq!(
        output.status.code(),
        Some(65),
        "the mark is found by the symlink"
    );
}

/// SQLite's log belongs to one name. Opened by another name, the rows that are only in the log are
/// missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_several_names_is_refused_until_the_other_name_is_removed() {
    let place = Place::new();
    let mut receiver = place.start().await;
    let load = Load::new();
    let running = load.start(&receiver);
    running.reached(20).await;
    running.stop().await;
    link(&place, "hard.db");
    let hard = called(&place, "hard.db");
    // The running process has the right log, but the next start is refused.
    let checked = run(&place, &["check"]).await;
    assert_refused(&checked, "the check beside a service");
    receiver.kill();
    for place in [&place, &hard] {
        let config = fs::read_to_string(place.config()).unwrap();
        assert_refused(&place.run_to_end().await, &config);
        assert_refused(&run(place, &["check"]).await, &config);
        let copy = place.data().join("copy");
        let backup = run(place, &["backup", copy.to_str().unwrap()]).await;
        assert_refused(&backup, &config);
    }
    fs::remove_file(place.data().join("hard.db")).unwrap();
    place.start().await.stop().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

async fn run(place: &Place, args: &[&str]) -> Output {
    let mut command = command(place, args);
    spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn assert_refused(output: &Output, what: &str) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.code(), Some(78), "{what}: {said}");
    assert!(said.contains("has 2 names (hard links)"), "{what}: {said}");
    assert!(said.contains("remove the other"), "{what}: {said}");
}

/// A release that locks only a file beside the database and this release exclude each other.
#[tokio::test]
async fn an_older_release_and_this_one_exclude_each_other() {
    let place = Place::new();
    let receiver = place.start().await;
    let beside = |name: &str| place.data().join(name);
    let is_locked = |path: &Path| File::open(path).unwrap().try_lock().is_err();
    assert!(is_locked(&beside("receiver.db.lock")));
    receiver.stop().await;

    let older = File::open(beside("receiver.db.lock")).unwrap();
    older.lock().unwrap();
    assert_in_use(&place, "locked by an older release").await;
    drop(older);

    // An older release takes the lock beside the name that it was given, and so does this one.
    symlink("receiver.db", beside("soft.db")).unwrap();
    let soft = called(&place, "soft.db");
    let older = File::create(beside("soft.db.lock")).unwrap();
    older.lock().unwrap();
    assert_in_use(&soft, "locked beside the symlink").await;
    drop(older);
    let receiver = soft.start().await;
    assert!(is_locked(&beside("soft.db.lock")));
    receiver.stop().await;
}
