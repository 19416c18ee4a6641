//! Endpoints and allowed hosts are exchanged without a restart.

use std::fs;

use evolink_receiver::domain::delivery::signing::SigningSecrets;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::reload::until_logged;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::process::{Place, Receiver};
use crate::support::until::until;

async fn submit(receiver: &Receiver, body: Value) -> (u16, Value) {
    let url = format!(
        "http://{}/v1/images/generations?wait=30",
        receiver.internal()
    );
    let answer = receiver.http.post(url).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn deliveries(receiver: &Receiver) -> usize {
    let (_, page) = receiver.get("/v1/deliveries").await.unwrap();
    page["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn an_endpoint_is_added_and_removed_and_a_host_is_allowed_while_running() {
    let place = Place::new();
    let _simulator = place.with_simulator().await;
    let (billing, app) = (
        RawServer::start(http(204, &[], ""), End::Close).await,
        RawServer::start(http(204, &[], ""), End::Close).await,
    );
    let good = fs::read_to_string(place.config()).unwrap();
    let receiver = place.start().await;
    let own = json!({"model": "z-image-turbo", "prompt": "a cat", "callback_url": app.url});
    let plain = json!({"model": "z-image-turbo", "prompt": "a dog"});
    assert_eq!(
        submit(&receiver, plain.clone()).await.1["status"],
        "completed"
    );
    assert_eq!(submit(&receiver, own.clone()).await.0, 400);
    assert_eq!(deliveries(&receiver).await, 0);

    // A secret that is not there changes nothing.
    let secret = place.config().with_extension("whsec");
    let endpoint = format!(
        "[[forward.endpoints]]\nname = \"billing\"\nurl = \"{}\"\nsecret_file = \"{}\"\n\
         events = [\"task.completed\"]\n",
        billing.url,
        secret.display()
    );
    fs::write(place.config(), format!("{good}\n{endpoint}")).unwrap();
    receiver.hang_up();
    until_logged(&receiver, "has errors: forward.endpoints[0].secret_file").await;
    assert_eq!(submit(&receiver, plain.clone()).await.0, 200);
    assert_eq!(deliveries(&receiver).await, 0);

    let made = SigningSecrets::generate().unwrap();
    fs::write(&secret, made.expose_secret()).unwrap();
    receiver.hang_up();
    until_logged(&receiver, "forward.endpoints has changed").await;
    assert_eq!(submit(&receiver, plain.clone()).await.0, 200);
    until("a delivery", || billing.requests().len() == 1).await;
    assert!(billing.requests()[0].contains("webhook-signature: v1,"));

    let host = app.url.strip_prefix("http://").unwrap();
    let allowing = good.replace(
        "[forward]\n",
        &format!("[forward]\nallowed_hosts = [\"{host}\"]\n"),
    );
    assert_ne!(allowing, good);
    fs::write(place.config(), allowing).unwrap();
    receiver.hang_up();
    until_logged(&receiver, "forward.allowed_hosts has changed").await;
    assert_eq!(submit(&receiver, own).await.0, 200);
    until("a delivery", || app.requests().len() == 1).await;
    assert_eq!(billing.requests().len(), 1, "it was removed");
    assert_eq!(deliveries(&receiver).await, 2);
    receiver.stop().await;
}
