//! Files of an earlier store exist, but the database does not, so this is no first start. The start
//! is refused, `check` reports the same, and the message says how to continue.

use std::fs;

use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::until::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_beside_a_trace_of_an_earlier_one_but_without_its_database_is_refused() {
    for (trace, words) in [
        ("receiver.db.mark", "remove"),
        ("receiver.db.ballast", "create an empty file"),
        ("callback_tokens.key", "create an empty file"),
    ] {
        let place = Place::new();
        let load = Load::new();
        let receiver = place.start().await;
        let running = load.start(&receiver);
        running.reached(5).await;
        running.stop().await;
        receiver.stop().await;
        let kept = fs::read(place.data().join(trace)).unwrap();
        fs::remove_dir_all(place.data()).unwrap();
        fs::create_dir(place.data()).unwrap();
        fs::write(place.data().join(trace), kept).unwrap();
        let found = place.check_of_store();
        for _ in 0..2 {
            let output = place.run_to_end().await;
            let line = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(65), "{trace}: {line}");
            assert_eq!(line.lines().count(), 1, "{trace}: {line}");
            assert!(
                line.contains(trace) && line.contains(words),
                "{trace}: {line}"
            );
        }
        assert!(
            found.starts_with("error") && found.contains(words),
            "{trace}: {found}"
        );
        // Do what the message suggests.
        if trace == "receiver.db.mark" {
            fs::remove_file(place.data().join(trace)).unwrap();
        } else {
            fs::write(place.database(), "").unwrap();
        }
        place.start().await.stop().await;
    }
}

/// A key ring outside the data folder may have been provided by an operator before the first start.
#[tokio::test]
async fn a_first_start_with_a_key_ring_that_was_provided_is_a_first_start() {
    let place = Place::new();
    place.start().await.stop().await;
    let ring = fs::read(place.data().join("callback_tokens.key")).unwrap();
    fs::remove_dir_all(place.data()).unwrap();
    let provided = place.config().with_extension("ring");
    fs::write(&provided, &ring).unwrap();
    let inside = format!("{}/callback_tokens.key", place.data().display());
    place.configure(&inside, &provided.display().to_string());
    let found = place.check_of_store();
    assert!(found.contains("will be made"), "{found}");
    let (mut child, _) = place.spawn();
    let database = place.database();
    until("the database", || fs::metadata(&database).is_ok()).await;
    child.kill().unwrap();
    child.wait().unwrap();
}
