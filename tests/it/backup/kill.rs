//! SIGKILL at any moment of a restore: the next start finds either all of the old data or all of
//! the new.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{at, succeed};
use crate::support::campaign::{random, rounds};
use crate::support::process::Place;
use crate::support::process::command::command;
use crate::support::process::load::Load;
use crate::support::store::{check, is_postgres};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_is_done_or_not_begun() {
    if is_postgres() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, old_load, new_load) = (Place::new(), Load::new(), Load::new());
    let receiver = source.start().await;
    let running = new_load.start(&receiver);
    running.reached(60).await;
    running.stop().await;
    let copy = at(folder.path(), "copy");
    succeed(&source, &["backup", &copy]).await;
    receiver.stop().await;
    let place = Place::new();
    let receiver = place.start().await;
    let running = old_load.start(&receiver);
    running.reached(30).await;
    running.stop().await;
    receiver.stop().await;
    let old = at(folder.path(), "old");
    succeed(&place, &["backup", &old]).await;
    let ring = || fs::read(place.data().join("callback_tokens.key")).unwrap();
    let (of_old, of_new) = (
        ring(),
        fs::read(format!("{copy}/callback_tokens.key")).unwrap(),
    );
    // Measures how long a complete restore takes.
    let began = Instant::now();
    succeed(&place, &["restore", &copy, "--replace"]).await;
    let whole = began.elapsed();
    let (mut random, mut done, mut undone) = (random(), 0, 0);
    for round in 0..rounds(12, 200) {
        succeed(&place, &["restore", &old, "--replace"]).await;
        let mut restoring = command(&place, &["restore", &copy, "--replace"]);
        let quiet = restoring.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        tokio::time::sleep(Duration::from_secs_f64(whole.as_secs_f64() * random.f64())).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let receiver = place.start().await;
        let is_new = ring() == of_new;
        assert!(is_new || ring() == of_old, "round {round}: another ring");
        let acknowledged = if is_new {
            new_load.acknowledged()
        } else {
            old_load.acknowledged()
        };
        let faults = check::faults(place.store(), &acknowledged).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
        let tasks = check::task_ids(place.store()).await;
        let wanted = acknowledged
            .iter()
            .map(|callback| callback.task_id.clone())
            .collect();
        assert_eq!(tasks, wanted, "round {round}: of both");
        receiver.stop().await;
        *(if is_new { &mut done } else { &mut undone }) += 1;
    }
    println!("{done} restores were done, {undone} not begun");
}
