//! Receivers in their own processes that deliver what a load brings, and the check that all of it
//! arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::endpoint::{Endpoint, Received};
use super::signatures::{SECRET, faults};
use crate::support::process::load::Load;
use crate::support::process::{Place, Receiver};

/// Deliveries that a killed process had claimed wait for its lease to expire, half a minute, if
/// another process might still be sending them.
const PATIENCE: Duration = Duration::from_mins(3);

/// Makes the receiver of `place` deliver to `endpoint` from its next start.
pub fn deliver_to(place: &Place, endpoint: &Endpoint) {
    let file = place.data().parent().unwrap().join("endpoint.whsec");
    std::fs::write(&file, SECRET).unwrap();
    let (url, file) = (endpoint.url(), file.display());
    place.configure(
        "[reconcile]",
        &format!(
            "[[forward.endpoints]]\nname = \"billing\"\nurl = \"{url}\"\nsecret_file = \"{file}\"\nevents = [\"task.completed\"]\n[reconcile]"
        ),
    );
}

/// Groups deliveries by task id.
fn by_task(received: &[Received]) -> BTreeMap<String, Vec<&Received>> {
    let mut tasks: BTreeMap<String, Vec<&Received>> = BTreeMap::new();
    for delivery in received {
        let id = delivery.json()["id"].as_str().unwrap().to_owned();
        tasks.entry(id).or_default().push(delivery);
    }
    tasks
}

/// Waits until everything that `load` acknowledged is delivered, and then checks all deliveries.
pub async fn assert_delivered(load: &Load, endpoint: &Endpoint, at: &Receiver) {
    let acknowledged = load.acknowledged();
    let outcomes = acknowledged.iter().filter(|callback| callback.is_outcome);
    let outcomes: BTreeSet<_> = outcomes.map(|callback| callback.task_id.clone()).collect();
    let deadline = Instant::now() + PATIENCE;
    let received = loop {
        let received = endpoint.received();
        let came = by_task(&received);
        let missing = outcomes.iter().filter(|id| !came.contains_key(*id)).count();
        if missing == 0 {
            break received;
        }
        assert!(Instant::now() < deadline, "{missing} outcomes did not come");
        sleep(Duration::from_millis(200)).await;
    };
    let came = by_task(&received);
    let mut ids = BTreeSet::new();
    for (task, deliveries) in &came {
        let first = deliveries[0];
        assert!(
            ids.insert(first.id().to_owned()),
            "two tasks have the id {}",
            first.id()
        );
        assert!(
            deliveries.iter().all(|one| one.id() == first.id()),
            "{task} came under two ids"
        );
        let url = format!("http://{}/v1/tasks/{task}", at.internal());
        let shown = at.http.get(url).send().await.unwrap();
        let shown = shown.text().await.unwrap();
        assert!(deliveries.iter().all(|one| one.text() == shown), "{task}");
    }
    assert_eq!(faults(&received, &[SECRET]), [""; 0]);
    println!(
        "{} outcomes acknowledged, {} tasks delivered by {} requests",
        outcomes.len(),
        came.len(),
        received.len()
    );
}
