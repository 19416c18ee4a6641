//! Stores of every released schema are upgraded with all their content, however often the upgrade
//! is killed, and with any number of replicas at once. A store that this program cannot upgrade is
//! refused with a line that says why.

mod archive;
mod content;
mod frozen;
mod interrupted;
mod refused;
mod released;

use content::Content;
use released::{RELEASED, make};

use crate::support::process::{Place, Receiver};
use crate::support::store::is_postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_every_released_schema_is_upgraded_with_its_content() {
    for released in &RELEASED {
        let place = Place::new();
        make(place.store(), released.version).await;
        place.make_ring();
        let before = Content::of(place.store()).await;
        assert!(before.rows() > 1000, "there is something to keep");
        let receiver = place.start().await;
        before.assert_kept(place.store()).await;
        assert_serves(&receiver).await;
        receiver.stop().await;
        // The second start has nothing left to upgrade.
        let receiver = place.start().await;
        let upgrades = receiver.log().matches("upgrading the schema").count();
        assert!(upgrades <= 1, "{}", receiver.log());
        receiver.stop().await;
    }
}

/// On PostgreSQL all replicas of a new version may be started at once: one upgrades, and the others
/// wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_upgrade_together() {
    if !is_postgres() {
        return;
    }
    for released in &RELEASED {
        let place = Place::new();
        make(place.store(), released.version).await;
        let before = Content::of(place.store()).await;
        // All of them use one certificate and one key ring.
        place.make_certificate();
        place.make_ring();
        let replicas = [place.replica(), place.replica()];
        let [second, third] = &replicas;
        let (first, second, third) = tokio::join!(place.start(), second.start(), third.start());
        before.assert_kept(place.store()).await;
        for receiver in [first, second, third] {
            assert_serves(&receiver).await;
            receiver.stop().await;
        }
    }
}

/// Asserts that old tasks are served, and that new callbacks are recorded.
async fn assert_serves(receiver: &Receiver) {
    let (status, task) = receiver
        .get("/v1/tasks/task-unified-1-first")
        .await
        .unwrap();
    let completed = Some("completed");
    assert_eq!(
        (status, task["status"].as_str()),
        (200, completed),
        "{task}"
    );
    let (status, events) = receiver.get("/v1/events?after=0&limit=4").await.unwrap();
    assert_eq!(status, 200, "{events}");
    let repeated = r#"{"id":"task-many-101","status":"completed","results":["https://files.evolink.ai/many.webp"]}"#;
    let new = format!(
        r#"{{"id":"task-new-{}","status":"processing"}}"#,
        receiver.pid()
    );
    for body in [repeated.to_owned(), new] {
        let answer = receiver.callback(body.clone()).await;
        assert_eq!(answer, Some((200, None)), "{body}: {}", receiver.log_tail());
    }
}
