//! An upgrade that is killed at any of its system calls continues at the next start, with the same
//! result.

use std::fs;

use super::content::Content;
use super::released::{RELEASED, make};
use crate::support::campaign::{random, rounds};
use crate::support::machine::needs::{self, Root};
use crate::support::process::Place;

/// After this many calls the upgrade is complete.
const OCCURRENCE_MAX: u32 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_is_killed_goes_on_at_the_next_start() {
    if !needs::are_met(Root::NotNeeded, &["strace"]) {
        return;
    }
    let (mut random, rounds) = (random(), rounds(4, 120));
    let (mut killed, mut half_done) = (0, 0);
    for round in 0..rounds {
        let released = &RELEASED[random.usize(..RELEASED.len())];
        let place = Place::new();
        make(place.store(), released.version).await;
        place.make_ring();
        let before = Content::of(place.store()).await;
        // Every start makes the first call, even if there is nothing to upgrade.
        let occurrence = match round {
            0 => 1,
            _ => random.u32(1..=OCCURRENCE_MAX),
        };
        let what = format!(
            "round {round}: schema {} killed at {occurrence}",
            released.version
        );
        fs::create_dir_all(place.data()).unwrap();
        let mut traced = place.clone();
        let words = launcher(&place, occurrence);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        traced.launch_through(&words);
        match traced.try_start().await {
            Ok(mut receiver) => receiver.kill(),
            Err(end) => {
                assert!(end.contains("signal: 9"), "{what}: {end}");
                killed += 1;
            }
        }
        if fs::exists(place.data().join("strace")).unwrap() {
            half_done += u32::from(is_half_done(&place, released.version).await);
        }
        let receiver = place.start().await;
        before.assert_kept(place.store()).await;
        super::assert_serves(&receiver).await;
        receiver.stop().await;
    }
    println!(
        "{rounds} upgrades, {killed} killed before they were ready, {half_done} of them between two migrations"
    );
    assert!(killed > 0, "none was killed: this test finds nothing");
}

/// Returns the launcher that kills the process when it writes, syncs or renames a file of a SQLite
/// store, or sends to the database server.
fn launcher(place: &Place, occurrence: u32) -> Vec<String> {
    let report = place.data().join("strace").display().to_string();
    let mut words = vec!["strace", "-D", "-f", "-qq", "-o"];
    words.push(&report);
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    let calls = if let Some(file) = place.store().file() {
        for suffix in ["", "-wal", ".mark", ".mark.new"] {
            words.extend(["-P".to_owned(), format!("{}{suffix}", file.display())]);
        }
        "pwrite64,fdatasync,fsync,ftruncate,rename"
    } else {
        "sendto"
    };
    words.extend(["-e".to_owned(), format!("trace={calls}")]);
    words.push(format!("--inject={calls}:signal=KILL:when={occurrence}"));
    words
}

/// Whether some of the later migrations were applied, but not all.
async fn is_half_done(place: &Place, version: i64) -> bool {
    let database = place.store().connect().await;
    let sql = "SELECT max(version) FROM _sqlx_migrations";
    let reached: i64 = database.value(sql, &[]).await;
    database.close().await;
    let newest = fs::read_dir(super::released::folder("sqlite"))
        .unwrap()
        .count();
    reached > version && reached < i64::try_from(newest).unwrap()
}
