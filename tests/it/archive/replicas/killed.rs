//! A replica is killed in the middle of a fetch.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::support::app::callback_body::completed_with;
use crate::support::files::{Given, Origin, archive_in, kept, png};
use crate::support::process::{Place, Receiver};
use crate::support::until::{PATIENCE, until};

const SETTINGS: &str = r#"allow_networks = ["127.0.0.0/8"]"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_replica_takes_over_when_the_lease_is_over() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    let file = png(1, 300_000);
    let (given, gate) = (file.clone(), Arc::new(Notify::new()));
    let origin = Origin::start(move |asked| match (asked.path.as_str(), asked.nth) {
        ("/a.png", 1) => Given::Gated(given.clone(), Arc::clone(&gate)),
        _ => Given::File(given.clone()),
    })
    .await;
    let other = place.replica();
    archive_in(&place, SETTINGS);
    archive_in(&other, SETTINGS);
    let mut first = place.start().await;
    complete(&first, "task-1", &origin.url("a.png")).await;
    until("the first replica fetches", || origin.count() == 1).await;
    let second = other.start().await;
    first.kill();

    // The second replica fetches what is due, and this file still has a holder.
    complete(&second, "task-2", &origin.url("b.png")).await;
    archived(&second, "task-2").await;
    assert_eq!(origin.count(), 2);
    assert_eq!(kept::drafts(&place.data().join("results")).len(), 1);

    let database = place.store().connect().await;
    let expired = "UPDATE result SET lease_until = lease_until - 120000 WHERE state = 'pending'";
    database.execute(expired).await;
    let shown = archived(&second, "task-1").await;
    assert_eq!(shown["error"], Value::Null);
    assert_eq!(origin.count(), 3);
    let url = format!("http://{}/v1/tasks/task-1/results/0", second.internal());
    let got = second.http.get(url).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), file);
    // The next sweep deletes the drafts of the killed process.
    second.stop().await;
    kept::age(&place.data().join("results"));
    let second = other.start().await;
    let drafts = || kept::drafts(&place.data().join("results"));
    until("the draft is swept", || drafts().is_empty()).await;
    let rows = kept::rows(place.store()).await;
    let faults = kept::faults(&rows, &place.data().join("results"), |_| true);
    assert_eq!((rows.len(), faults), (2, Vec::new()));
    second.stop().await;
}

async fn complete(receiver: &Receiver, id: &str, url: &str) {
    let sent = receiver.callback(completed_with(id, &json!([url])));
    assert_eq!(sent.await, Some((200, None)), "{}", receiver.log_tail());
}

async fn archived(receiver: &Receiver, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, task) = receiver.get(&format!("/v1/tasks/{id}")).await.unwrap();
        let shown = &task["receiver"]["results"][0];
        if shown["archived_at"].is_string() {
            return shown.clone();
        }
        assert!(Instant::now() < deadline, "{task}: {}", receiver.log_tail());
        sleep(Duration::from_millis(50)).await;
    }
}
