//! A database that has lost committed data is refused and not created again (I6). It may be empty
//! or gone, its log may be missing, or it may be an older copy. An operator can still do
//! deliberately what the refusal prevents, and any state that a crash can leave does start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::support::campaign::{random, rounds};
use crate::support::process::load::Load;
use crate::support::process::{Place, Receiver};
use crate::support::store::check;
use crate::support::until::until;

const PAGE_BYTES: usize = 4096;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_a_database_that_is_empty_or_gone_is_refused() {
    let (place, load) = written().await;
    for (what, damage) in [
        ("empty", empty as fn(&Path)),
        ("gone", |path: &Path| fs::remove_file(path).unwrap()),
    ] {
        let whole = keep(&place);
        damage(&place.database());
        assert_refused(&place, what, "is empty or gone").await;
        put_back(&place, &whole);
        let receiver = place.start().await;
        let faults = check::faults(place.store(), &load.acknowledged()).await;
        assert!(faults.is_empty(), "{what}: {faults:#?}");
        receiver.stop().await;
    }
    // It is refused without its mark too, if there is a log that would be thrown away.
    let mut receiver = place.start().await;
    write_more(&receiver, &load, &place).await;
    receiver.kill();
    fs::remove_file(mark(&place)).unwrap();
    empty(&place.database());
    assert_refused(&place, "a log alone", "is empty or gone").await;
}

/// A missing log alone proves nothing, because SQLite removes it when the last program closes the
/// database. The rows decide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_a_missing_log_after_a_kill_is_refused_if_rows_are_missing_with_it() {
    let (place, load) = written().await;
    let older = keep(&place);
    let mut receiver = place.start().await;
    write_more(&receiver, &load, &place).await;
    receiver.kill();
    // The state as if nothing had been copied from the log into the database.
    put_back(&place, &older);
    fs::remove_file(place.data().join("receiver.db-wal")).unwrap();
    assert_refused(&place, "no log", "has lost rows").await;
    fs::remove_file(mark(&place)).unwrap();
    place.start().await.stop().await;
    assert!(!place.data().join("receiver.db-wal").exists());

    // Everything written is already in the database.
    let mut receiver = place.start().await;
    receiver.kill();
    fs::remove_file(place.data().join("receiver.db-wal")).unwrap();
    place.start().await.stop().await;
}

/// A checkpoint was interrupted and the log was removed afterwards, so some pages are old and some
/// are new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_a_missing_log_after_a_kill_is_refused_if_pages_do_not_fit_together() {
    let (place, load) = written().await;
    let older = keep(&place);
    let mut receiver = place.start().await;
    write_more(&receiver, &load, &place).await;
    receiver.kill();
    let shell = place.store().connect().await;
    shell.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'task_client'";
    let page: usize = shell.value::<i64>(root, &[]).await.try_into().unwrap();
    shell.close().await;
    let log = place.data().join("receiver.db-wal");
    until("the log to go", || !log.exists()).await;
    // Put back the index as it was before its last rows.
    let mut bytes = fs::read(place.database()).unwrap();
    let start = (page - 1) * PAGE_BYTES;
    let older = &older[start..start + PAGE_BYTES];
    assert!(bytes[start..start + PAGE_BYTES] != *older, "it has changed");
    bytes[start..start + PAGE_BYTES].copy_from_slice(older);
    fs::write(place.database(), bytes).unwrap();
    assert_refused(&place, "torn", "does not hold together").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_is_refused_until_the_high_water_mark_is_removed() {
    let (place, load) = written().await;
    let older = keep(&place);
    let before = load.acknowledged();
    let receiver = place.start().await;
    write_more(&receiver, &load, &place).await;
    receiver.stop().await;
    fs::copy(place.data().join("older"), place.database()).unwrap();
    assert_refused(&place, "an older copy", "has lost rows").await;
    fs::remove_file(mark(&place)).unwrap();
    let _receiver = place.start().await;
    let faults = check::faults(place.store(), &before).await;
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(older, fs::read(place.data().join("older")).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_synced_rows_are_detected_after_a_kill() {
    let (place, load) = written().await;
    keep(&place);
    let mut receiver = place.start().await;
    write_more(&receiver, &load, &place).await;
    receiver.kill();
    // Simulates a disk that lost synced data: the older database, with an empty log.
    fs::copy(place.data().join("older"), place.database()).unwrap();
    empty(&place.data().join("receiver.db-wal"));
    assert_refused(&place, "a sync that was a lie", "has lost rows").await;
}

#[tokio::test]
async fn i6_a_mark_that_cannot_be_read_is_refused() {
    let place = Place::new();
    place.start().await.stop().await;
    empty(&mark(&place));
    assert_refused(&place, "an empty mark", "a mark that cannot be read").await;
}

/// A kill at any moment, including during start and stop, never makes the next start refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_after_any_kill_succeeds() {
    let mut random = random();
    let place = Place::new();
    let load = Load::new();
    for round in 1..=rounds(10, 200) {
        let (mut starting, _) = place.spawn();
        sleep(Duration::from_micros(random.u64(..80_000))).await;
        starting.kill().unwrap();
        starting.wait().unwrap();
        let mut receiver = place.start().await;
        let running = load.start(&receiver);
        running.reached(5).await;
        running.stop().await;
        receiver.terminate();
        sleep(Duration::from_micros(random.u64(..40_000))).await;
        receiver.kill();
        let Err(refusal) = place.try_start().await.map(drop) else {
            continue;
        };
        panic!("round {round}: {refusal}");
    }
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Returns a place that was stopped normally and whose store has some rows.
async fn written() -> (Place, Load) {
    let (place, load) = (Place::new(), Load::new());
    let receiver = place.start().await;
    write_more(&receiver, &load, &place).await;
    receiver.stop().await;
    (place, load)
}

/// Records more callbacks, and waits until the mark is updated.
async fn write_more(receiver: &Receiver, load: &Load, place: &Place) {
    let before = fs::read(mark(place)).unwrap();
    let running = load.start(receiver);
    running.reached(40).await;
    running.stop().await;
    until("a new mark", || {
        fs::read(mark(place)).is_ok_and(|now| now != before)
    })
    .await;
}

fn mark(place: &Place) -> PathBuf {
    place.data().join("receiver.db.mark")
}

/// Keeps a copy of the database.
fn keep(place: &Place) -> Vec<u8> {
    fs::copy(place.database(), place.data().join("older")).unwrap();
    fs::read(place.database()).unwrap()
}

fn put_back(place: &Place, whole: &[u8]) {
    fs::write(place.database(), whole).unwrap();
}

fn empty(path: &Path) {
    fs::write(path, "").unwrap();
}

/// Asserts that the start is refused with exit code 65 and one line, twice, and changes no file.
async fn assert_refused(place: &Place, what: &str, why: &str) {
    let file = |suffix: &str| fs::read(place.data().join(format!("receiver.db{suffix}"))).ok();
    // Opening the database for reading creates an empty log.
    let log = || file("-wal").filter(|log| !log.is_empty());
    let files = || [file(""), log(), file(".mark")];
    let before = files();
    for _ in 0..2 {
        let output = place.run_to_end().await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(65), "{what}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
        assert!(stderr.contains(why), "{what}: {stderr}");
        assert!(stderr.contains("receiver.db.mark"), "{what}: {stderr}");
        assert!(before == files(), "{what}: left as it was found");
    }
}
