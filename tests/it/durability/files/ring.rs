//! A key ring that is lost is not replaced in silence: EvoLink would get 404 for every task that is
//! under way.

use std::fs;
use std::process::Command;

use evolink_receiver::simulator::{Options, Simulator};
use serde_json::json;

use crate::support::process::Place;

#[tokio::test]
async fn the_first_start_makes_a_ring_and_says_so() {
    let place = Place::new();
    let receiver = place.start().await;
    let log = receiver.log();
    let made = log
        .lines()
        .find(|line| line.contains("made a new key ring"));
    let made = made.expect("it is logged");
    assert!(made.contains("INFO") && !made.contains("void"), "{made}");
}

#[tokio::test]
async fn a_ring_that_is_lost_is_asked_for_and_the_way_out_works() {
    let place = Place::new();
    let simulator = Simulator::start(Options {
        allow_private_callbacks: true,
        callback_ca_pem: Some(place.make_certificate().into_bytes()),
        ..Options::default()
    });
    let simulator = simulator.await.unwrap();
    place.configure_evolink(&simulator.base_url());
    place.configure("first_poll_after = \"1h\"", "first_poll_after = \"1s\"");
    let receiver = place.start().await;
    let url = format!("http://{}/v1/images/generations", receiver.internal);
    let body = json!({"model": "z-image-turbo", "prompt": "a cat [sim:duration=5s]"});
    let answer = receiver.http.post(url).json(&body).send().await.unwrap();
    let task: serde_json::Value = answer.json().await.unwrap();
    let id = task["id"].as_str().unwrap().to_owned();
    receiver.stop().await;
    let ring = place.data().join("callback_tokens.key");
    fs::remove_file(&ring).unwrap();

    let output = place.run_to_end().await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let refused = format!("callback_tokens.key_file: {} is absent, ", ring.display());
    assert!(said.contains(&refused), "{said}");
    assert!(!ring.exists(), "none is made");
    let found = place.check();
    assert!(found.contains(&format!("error   {refused}")), "{found}");

    // Exactly what the line says.
    let way_out = said.split_once("with: (").unwrap().1;
    let way_out = way_out.split_once(')').unwrap().0;
    let program = env!("CARGO_BIN_EXE_evolink-receiver");
    let way_out = way_out.replace("evolink-receiver keys", &format!("{program} keys"));
    let made = Command::new("sh").args(["-c", &way_out]).status().unwrap();
    assert!(made.success(), "{way_out}");
    if place.store().url().starts_with("postgres") {
        assert!(said.contains("empty the table callback_key"), "{said}");
        let database = place.store().connect().await;
        database.execute("DELETE FROM callback_key").await;
        database.close().await;
    }
    let found = place.check();
    let ok = format!(
        "ok      callback_tokens.key_file: {}: a key ring",
        ring.display()
    );
    assert!(found.contains(&ok), "{found}");
    assert!(!found.contains("others may read it: mode"), "{found}");
    let receiver = place.start().await;
    let path = format!("/v1/tasks/{id}?wait=50");
    let (_, task) = receiver.get(&path).await.unwrap();
    assert_eq!(task["status"], "completed", "{}", receiver.log_tail());
}
