//! The system's clock is corrected while the receiver runs. The receiver's own time follows slowly.
//! But endpoints compare `webhook-timestamp` with a correct clock, and refuse a difference of more
//! than five minutes.

use evolink_receiver::domain::timestamp::Timestamp;
use serde_json::json;
use standardwebhooks::Webhook;
use tempfile::TempDir;

use super::receiver::builder;
use crate::support::deliveries::app::{outcome, task_id};
use crate::support::deliveries::endpoint::{Endpoint, Received};
use crate::support::deliveries::signatures::SECRET;
use crate::support::machine::faketime::{self, now};
use crate::support::process::Place;

/// Verifies a delivery like an endpoint with the correct time, with a tolerance of five minutes.
fn is_accepted(received: &Received) -> bool {
    let webhook = Webhook::new(SECRET).unwrap();
    webhook.verify(&received.body, &received.headers).is_ok()
}

#[tokio::test]
async fn a_signature_has_the_systems_time_and_not_the_one_of_the_process() {
    let endpoint = Endpoint::good().await;
    let builder = builder(&[("billing", &endpoint.url())]).with_manual_clock();
    let app = builder.start().await;
    outcome(&app, 1).await;
    assert!(!is_accepted(&endpoint.has(1).await[0]), "of the year 2025");
    let true_time = Timestamp::from_millis(now().as_millisecond());
    app.clock.set_wall(true_time);
    outcome(&app, 2).await;
    assert!(is_accepted(&endpoint.has(2).await[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_delivery_after_the_systems_clock_is_corrected_by_an_hour_is_accepted() {
    let Some(library) = faketime::library() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let offset = folder.path().join("offset");
    let endpoint = Endpoint::good().await;
    let mut place = Place::new();
    for word in faketime::launcher(&library, &offset) {
        place.launch_through(&[&word]);
    }
    std::fs::create_dir_all(place.data()).unwrap();
    let secret = place.data().join("billing_whsec");
    std::fs::write(&secret, SECRET).unwrap();
    let standing = format!(
        "[[forward.endpoints]]\nname = \"billing\"\nurl = \"{}\"\nsecret_file = \"{}\"\nevents = [\"task.completed\"]\n[reconcile]",
        endpoint.url(),
        secret.display()
    );
    place.configure("[reconcile]", &standing);
    faketime::set(&offset, "-1h");
    let receiver = place.start().await;
    let outcome = async |number: usize| {
        let results = ["https://files.evolink.ai/1.webp"];
        let body = json!({"id": task_id(number), "status": "completed", "results": results});
        let answer = receiver.callback(body.to_string()).await;
        assert_eq!(answer.unwrap().0, 200, "{}", receiver.log_tail());
        endpoint.has(number).await[number - 1].clone()
    };
    assert!(!is_accepted(&outcome(1).await), "its clock is an hour late");
    faketime::set(&offset, "+0");
    assert!(is_accepted(&outcome(2).await));
}
