//! Another program, such as a backup tool, `.dump` or a shell, reads the database while the
//! receiver stops. The program that closes the database last removes its write-ahead log. That
//! loses nothing, and the next start must not be refused.

use std::fs;
use std::time::Instant;

use evolink_receiver::store::engine::sqlite::BUSY_TIMEOUT;

use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::store::check;
use crate::support::until::until;

const READ: &str = "BEGIN; SELECT count(*) FROM task";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_in_a_transaction_at_the_stop_does_not_keep_the_next_start_out() {
    let (place, load) = (Place::new(), Load::new());
    let receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(40).await;
    let reader = place.store().connect().await;
    reader.execute(READ).await;
    running.reached(80).await;
    running.stop().await;
    receiver.stop().await;
    assert!(log_is_there(&place), "the reader keeps the log");

    // Start once while the reader is still there, and once after it has removed the log.
    place.start().await.stop().await;
    reader.close().await;
    until("the log to go", || !log_is_there(&place)).await;
    let receiver = place.start().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
    let says = "the write-ahead log is missing, but no row is";
    assert!(receiver.log().contains(says), "{}", receiver.log());
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_that_looks_into_the_store_of_a_killed_receiver_does_no_harm() {
    let (place, load) = (Place::new(), Load::new());
    let mut receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(40).await;
    running.stop().await;
    receiver.kill();
    let shell = place.store().connect().await;
    shell.execute(READ).await;
    shell.close().await;
    until("the log to go", || !log_is_there(&place)).await;
    place.start().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_after_a_kill_does_not_wait_for_a_reader_of_the_log() {
    let (place, load) = (Place::new(), Load::new());
    let mut receiver = place.start().await;
    let reader = place.store().connect().await;
    reader.execute(READ).await;
    let running = load.start(&receiver);
    running.reached(40).await;
    running.stop().await;
    receiver.kill();
    let log = place.data().join("receiver.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    let began = Instant::now();
    let receiver = place.start().await;
    let took = began.elapsed();
    assert!(took < BUSY_TIMEOUT, "{took:?}");
    drop(receiver);
    reader.close().await;
    place.start().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

fn log_is_there(place: &Place) -> bool {
    fs::exists(place.data().join("receiver.db-wal")).unwrap()
}
