//! A failed or killed `restore` or `backup` leaves no permanent files behind.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{at, fail, modes, succeed};
use crate::support::process::Place;
use crate::support::process::command::command;
use crate::support::store::database::Database;
use crate::support::store::is_postgres;
use crate::support::until::PATIENCE;

/// A place whose store contains one task.
async fn used_place() -> Place {
    let place = Place::new();
    let receiver = place.start().await;
    let body = json!({"id": "task-1", "status": "failed"}).to_string();
    assert_eq!(receiver.callback(body).await.unwrap().0, 200);
    receiver.stop().await;
    place
}

fn names(folder: &Path) -> Vec<String> {
    modes(folder).into_iter().map(|(name, _)| name).collect()
}

/// The names of temporary files in `folder` that a restore or a backup creates.
fn left_over(folder: &Path) -> Vec<String> {
    let mut names = names(folder);
    names.retain(|name| {
        name.contains(".restoring") || name.contains(".restore") || name.contains(".unfinished")
    });
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_fails_leaves_nothing_beside_the_store() {
    if is_postgres() {
        return;
    }
    let (place, folder) = (used_place().await, tempfile::tempdir().unwrap());
    let copy = at(folder.path(), "copy");
    succeed(&place, &["backup", &copy]).await;
    // Use a different key ring, so that there is one to restore. A folder occupies the path of its
    // staged copy, so the restore fails after it has staged the database.
    let ring = place.data().join("callback_tokens.key");
    fs::write(&ring, format!("k9 {}\n", "0".repeat(64))).unwrap();
    let obstacle = place.data().join("callback_tokens.key.restoring");
    fs::create_dir(&obstacle).unwrap();
    let there = names(place.data());
    let failed = fail(&place, &["restore", &copy, "--replace"], 69).await;
    assert!(failed.contains("callback_tokens.key.restoring"), "{failed}");
    assert_eq!(names(place.data()), there);
    fs::remove_dir(obstacle).unwrap();
    succeed(&place, &["restore", &copy, "--replace"]).await;
    assert!(
        left_over(place.data()).is_empty(),
        "{:?}",
        left_over(place.data())
    );
}

/// The files that remain after a kill in the middle of staging.
const STAGED: [&str; 7] = [
    "receiver.db.restoring",
    "receiver.db.restoring-journal",
    "receiver.db.mark.restoring",
    "receiver.db.mark.restoring.new",
    "callback_tokens.key.restoring",
    "forward.whsec.restoring",
    "receiver.db.restore.new",
];

fn stage(place: &Place) {
    for name in STAGED {
        fs::write(place.data().join(name), "half of it").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_restore_staged_is_removed_by_the_next_start_and_restore() {
    if is_postgres() {
        return;
    }
    let (place, folder) = (used_place().await, tempfile::tempdir().unwrap());
    let copy = at(folder.path(), "copy");
    succeed(&place, &["backup", &copy]).await;
    stage(&place);
    let receiver = place.start().await;
    assert_eq!(left_over(place.data()), Vec::<String>::new());
    // The lock may be held by a running restore, so its files are kept.
    stage(&place);
    let second = place.replica().run_to_end().await;
    assert_eq!(second.status.code(), Some(75));
    assert_eq!(left_over(place.data()).len(), STAGED.len());
    receiver.stop().await;
    let refused = fail(&place, &["restore", &copy], 64).await;
    assert!(refused.contains("--replace"), "{refused}");
    assert_eq!(left_over(place.data()), Vec::<String>::new());
}

/// Starts a backup to `path` that waits for the lock on the database. Returns when its folder
/// exists.
async fn waiting_backup(place: &Place, path: &str) -> Child {
    let folder = Path::new(path).parent().unwrap();
    let before = left_over(folder);
    let mut command = command(place, &["backup", path]);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while left_over(folder) == before {
        assert!(Instant::now() < deadline, "no backup begins");
        assert_eq!(child.try_wait().unwrap(), None, "the backup has ended");
        sleep(Duration::from_millis(2)).await;
    }
    child
}

async fn exit_code(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it never ends");
        sleep(Duration::from_millis(2)).await;
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let mut kill = std::process::Command::new("sh");
    let sent = kill.args(["-c", r#"kill -"$0" "$1""#, name, &pid]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_told_to_stop_leaves_nothing_and_a_killed_one_is_cleared_by_the_next() {
    if is_postgres() {
        return;
    }
    let (place, folder) = (used_place().await, tempfile::tempdir().unwrap());
    // Use a rollback journal, so that a writer blocks readers.
    let database = Database::connect(place.store().url()).await;
    database
        .execute("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .await;
    let copy = at(folder.path(), "copy");
    for name in ["INT", "TERM"] {
        let mut backup = waiting_backup(&place, &copy).await;
        signal(&backup, name);
        assert_eq!(exit_code(&mut backup).await, Some(75), "SIG{name}");
        assert_eq!(left_over(folder.path()), Vec::<String>::new(), "SIG{name}");
    }
    let mut killed = waiting_backup(&place, &copy).await;
    let of_killed = left_over(folder.path());
    // A running backup does not block another one, and keeps its folder.
    let mut other = waiting_backup(&place, &copy).await;
    assert_eq!(left_over(folder.path()).len(), 2, "both run");
    killed.kill().unwrap();
    killed.wait().unwrap();
    signal(&other, "TERM");
    assert_eq!(exit_code(&mut other).await, Some(75));
    assert_eq!(left_over(folder.path()), of_killed, "the killed one's");
    // These names look similar, but the receiver did not create them.
    fs::write(folder.path().join("copy.unfinished-notes"), "mine").unwrap();
    fs::create_dir(folder.path().join("other.unfinished-01234567")).unwrap();
    database
        .execute("ROLLBACK; PRAGMA journal_mode = WAL")
        .await;
    database.close().await;
    // Shell completion appends the slash.
    let said = succeed(&place, &["backup", &format!("{copy}/")]).await;
    assert!(said.contains(&format!("backed up to {copy}:")), "{said}");
    assert_eq!(
        names(folder.path()),
        ["copy", "copy.unfinished-notes", "other.unfinished-01234567"]
    );
}
