//! After an unclean exit the start reads the whole database and refuses a damaged one. `check`
//! reports the same.

use std::fs;

use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::store::check;
use crate::support::until::until;

const PAGE_BYTES: usize = 4096;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_by_the_start_after_a_kill_and_by_check() {
    let (place, load) = (Place::new(), Load::new());
    let receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(400).await;
    running.stop().await;
    receiver.stop().await;
    let whole = fs::read(place.database()).unwrap();
    // Killed, with a log that does not contain the damaged page.
    let mut receiver = place.start().await;
    let mark = place.data().join("receiver.db.mark");
    let before = fs::read(&mark).unwrap();
    let body = r#"{"id":"task-last","status":"processing"}"#;
    assert_eq!(receiver.callback(body.to_owned()).await, Some((200, None)));
    until("the mark", || {
        fs::read(&mark).is_ok_and(|now| now != before)
    })
    .await;
    receiver.kill();
    let mut bytes = fs::read(place.database()).unwrap();
    let is_same = |page: &usize| {
        let range = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
        whole[range.clone()] == bytes[range]
    };
    // Find a leaf page of a table, full of rows that no statement of the start reads.
    let leaf = (1..whole.len() / PAGE_BYTES)
        .filter(is_same)
        .find(|page| whole[page * PAGE_BYTES] == 0x0d)
        .expect("a leaf");
    let good = bytes.clone();
    bytes[leaf * PAGE_BYTES..][..PAGE_BYTES].fill(0x5a);
    fs::write(place.database(), &bytes).unwrap();
    let found = place.check_of_store();
    let output = place.run_to_end().await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{line}");
    assert!(line.contains("damaged"), "{line}");
    assert!(
        found.starts_with("error") && found.contains("damaged"),
        "{found}"
    );
    fs::write(place.database(), good).unwrap();
    let found = place.check_of_store();
    assert!(found.starts_with("ok"), "{found}");
    place.start().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// After a kill, an older copy replaces the database while the log of the newer one is still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_beside_the_log_of_another_database_is_refused() {
    for by in ["mv", "cp"] {
        let (place, load) = (Place::new(), Load::new());
        let receiver = place.start().await;
        let running = load.start(&receiver);
        running.reached(100).await;
        running.stop().await;
        receiver.stop().await;
        let older = place.data().join("older");
        fs::copy(place.database(), &older).unwrap();
        let mut receiver = place.start().await;
        let running = load.start(&receiver);
        running.reached(300).await;
        running.stop().await;
        let mark = place.data().join("receiver.db.mark");
        let before = fs::read(&mark).unwrap();
        let body = r#"{"id":"task-last","status":"processing"}"#;
        assert_eq!(receiver.callback(body.to_owned()).await, Some((200, None)));
        until("the mark", || {
            fs::read(&mark).is_ok_and(|now| now != before)
        })
        .await;
        receiver.kill();
        match by {
            "mv" => fs::rename(&older, place.database()).unwrap(),
            _ => fs::copy(&older, place.database()).map(drop).unwrap(),
        }
        let found = place.check_of_store();
        let output = place.run_to_end().await;
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(65), "{by}: {line}");
        assert!(found.starts_with("error"), "{by}: {found}");
    }
}
