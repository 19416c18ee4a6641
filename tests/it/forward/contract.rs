//! The contract as its readers can use it: only the program, its documented configuration, REST,
//! and the library of Standard Webhooks.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::time::{Instant, sleep};

use crate::support::deliveries::endpoint::{Endpoint, Received, answer};
use crate::support::deliveries::signatures::{OTHER_SECRET, SECRET};
use crate::support::process::{Place, Receiver};
use crate::support::until::PATIENCE;

/// Sends a request to the internal listener.
async fn ask(receiver: &Receiver, method: Method, path: &str, body: &Value) -> (u16, String) {
    let url = format!("http://{}{path}", receiver.internal());
    let request = receiver.http.request(method, url);
    let request = if body.is_null() {
        request
    } else {
        request.json(body)
    };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn submit(receiver: &Receiver, callback_url: &str) -> (u16, Value) {
    let body = json!({"model": "z-image-turbo", "prompt": "a cat [sim:duration=10ms]", "callback_url": callback_url});
    let (status, text) = ask(receiver, Method::POST, "/v1/images/generations", &body).await;
    (status, serde_json::from_str(&text).unwrap())
}

/// The delivery of `task` to `endpoint`, once it is in `state`.
async fn delivery(receiver: &Receiver, task: &str, endpoint: &str, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, page) = receiver
            .get(&format!("/v1/deliveries?task={task}"))
            .await
            .unwrap();
        assert_eq!(status, 200, "{page}");
        let deliveries = page["data"].as_array().unwrap();
        let wanted = |one: &&Value| one["endpoint"] == endpoint && one["state"] == state;
        if let Some(found) = deliveries.iter().find(wanted) {
            return found.clone();
        }
        assert!(Instant::now() < deadline, "{endpoint} {state}: {page:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The last of `received` that is about `task`, verified with each of `secrets`.
fn verified(received: &[Received], task: &str, secrets: &[&str]) -> Received {
    let found = received.iter().rfind(|one| one.json()["id"] == task);
    let found = found.unwrap_or_else(|| panic!("nothing of {task}"));
    for secret in secrets {
        let webhook = Webhook::new(secret.trim()).unwrap();
        webhook.verify(&found.body, &found.headers).unwrap();
    }
    found.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_and_an_operator_with_nothing_but_the_contract() {
    let (billing, own, gone) = (
        Endpoint::good().await,
        Endpoint::start(answer(500, "")).await,
        Endpoint::start(answer(410, "")).await,
    );
    let place = Place::new();
    let _simulator = place.with_simulator().await;
    let file = place.data().join("billing_whsec");
    std::fs::write(&file, SECRET).unwrap();
    let allowed = format!(
        "[forward]\nallowed_hosts = [\"{}\", \"localhost:{}\"]\n",
        own.address,
        gone.address.port()
    );
    place.configure("[forward]\n", &allowed);
    let standing = format!(
        "[[forward.endpoints]]\nname = \"billing\"\nurl = \"{}\"\nsecret_file = \"{}\"\nevents = [\"task.completed\", \"task.failed\", \"task.cancelled\"]\n[reconcile]",
        billing.url(),
        file.display()
    );
    place.configure("[reconcile]", &standing);
    let receiver = place.start().await;

    // URLs that are not listed: by port, by name, and by the address that a name leads to.
    for refused in [
        billing.url(),
        format!("http://localhost:{}/", own.address.port()),
        "http://169.254.169.254/".to_owned(),
    ] {
        let (status, error) = submit(&receiver, &refused).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (400, &json!("callback_url")),
            "{error}"
        );
    }

    // A 500, which is a failure; then a restart; then a 200.
    let (status, task) = submit(&receiver, &own.url()).await;
    assert_eq!(status, 200, "{task}");
    let id = task["id"].as_str().unwrap().to_owned();
    own.has(1).await;
    let origin = format!("http://{}", own.address);
    let failed = delivery(&receiver, &id, &origin, "pending").await;
    assert_eq!(failed["url"], format!("{origin}/hook"), "{failed}");
    billing.has(1).await;
    delivery(&receiver, &id, "billing", "delivered").await;
    receiver.stop().await;
    own.behave(answer(200, ""));
    let receiver = place.start().await;
    let delivered = delivery(&receiver, &id, &origin, "delivered").await;
    assert!(delivered["attempts"].as_u64() >= Some(2), "{delivered}");
    let secret = std::fs::read_to_string(place.data().join("forward.whsec")).unwrap();
    let here = verified(&own.received(), &id, &[&secret]);
    let there = verified(&billing.received(), &id, &[SECRET]);
    let (_, object) = ask(
        &receiver,
        Method::GET,
        &format!("/v1/tasks/{id}"),
        &Value::Null,
    )
    .await;
    assert_eq!(here.text(), object, "what the task is to whoever asks");
    assert_eq!(here.id(), there.id());
    let feed = receiver
        .get("/v1/events?after=0&types=task.completed")
        .await;
    let (_, feed) = feed.unwrap();
    let event = &feed["data"][0];
    assert_eq!(event["id"], here.id());
    assert_eq!(
        failed["event"],
        json!({"id": event["id"], "seq": event["seq"], "type": "task.completed"})
    );
    assert!(own.received().iter().all(|one| one.id() == here.id()));

    // A 410 from an app's own address is an ordinary failure. Meanwhile both secrets are put into
    // the file.
    std::fs::write(&file, format!("{OTHER_SECRET}\n{SECRET}\n")).unwrap();
    let (status, task) = submit(
        &receiver,
        &format!("http://localhost:{}/x", gone.address.port()),
    )
    .await;
    assert_eq!(status, 200, "{task}");
    let id = task["id"].as_str().unwrap();
    let origin = format!("http://localhost:{}", gone.address.port());
    gone.has(1).await;
    gone.behave(answer(204, ""));
    let delivered = delivery(&receiver, id, &origin, "delivered").await;
    assert!(delivered["attempts"].as_u64() >= Some(2), "{delivered}");
    let retry = format!("/v1/deliveries/{}/retry", delivered["id"]);
    let (status, text) = ask(&receiver, Method::POST, &retry, &Value::Null).await;
    assert_eq!(status, 409, "{text}");
    assert_eq!(delivered["attempts"], gone.count());
    both_sign(&receiver, &billing, &own.url()).await;
    receiver.stop().await;
}

/// Causes deliveries until one is signed with both secrets of the file.
async fn both_sign(receiver: &Receiver, billing: &Endpoint, callback_url: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = billing.count();
        assert_eq!(submit(receiver, callback_url).await.0, 200);
        let deliveries = billing.has(before + 1).await;
        let last = deliveries.last().unwrap();
        let verifies = |secret| {
            let webhook = Webhook::new(secret).unwrap();
            webhook.verify(&last.body, &last.headers).is_ok()
        };
        if verifies(SECRET) && verifies(OTHER_SECRET) {
            return;
        }
        assert!(Instant::now() < deadline, "only one signs");
        sleep(Duration::from_millis(500)).await;
    }
}
