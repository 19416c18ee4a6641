//! A service whose certificate has expired starts, says so, and gets outcomes by polling until the
//! files are renewed.

use std::fs;

use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::support::net::certificates::Pem;
use crate::support::process::{Place, Receiver};
use crate::support::until::PATIENCE;

async fn readiness(receiver: &Receiver) -> (u16, Value) {
    receiver.get("/readyz").await.expect("an answer")
}

#[tokio::test]
async fn a_start_with_an_expired_certificate_goes_on_and_is_not_ready_until_it_is_renewed() {
    let place = Place::new();
    let (cert, key) = (
        place.data().join("self-signed.crt"),
        place.data().join("self-signed.key"),
    );
    fs::create_dir_all(place.data()).unwrap();
    let keep = |pem: &Pem| {
        fs::write(&cert, &pem.cert).unwrap();
        fs::write(&key, &pem.key).unwrap();
    };
    keep(&Pem::valid(2020, 2021));
    let files = format!(
        "mode = \"files\", cert_file = \"{}\", key_file = \"{}\", self_signed_dir",
        cert.display(),
        key.display()
    );
    place.configure("mode = \"self-signed\", self_signed_dir", &files);
    place.configure("first_poll_after = \"1h\"", "first_poll_after = \"1s\"");
    let simulator = Simulator::start(Options {
        allow_private_callbacks: true,
        ..Options::default()
    });
    let simulator = simulator.await.unwrap();
    place.configure_evolink(&simulator.base_url());

    let found = place.check();
    let says = "self-signed.crt expired at 2021-01-01T00:00:00Z: callbacks do not arrive, and outcomes are found by \
                polling until it is renewed";
    let is_error = |line: &str| line.starts_with("error   public.tls: ") && line.contains(says);
    assert!(found.lines().any(is_error), "{found}");

    let receiver = place.start_unready().await;
    let reason =
        "the certificate expired at 2021-01-01T00:00:00Z: EvoLink's callbacks do not arrive";
    let not_ready = (503, json!({"status": "not ready", "reason": reason}));
    assert_eq!(readiness(&receiver).await, not_ready);
    let verbose = receiver.get("/readyz?verbose").await.unwrap();
    let detail = json!({"state": "failing", "message": reason});
    assert_eq!((verbose.0, &verbose.1["reason"]), (503, &json!(reason)));
    assert_eq!(verbose.1["details"]["certificate"], detail);

    let url = format!("http://{}/v1/images/generations?wait=50", receiver.internal);
    let body = json!({"model": "z-image-turbo", "prompt": "a cat [sim:duration=100ms]"});
    let answer = receiver.http.post(url).json(&body).send().await.unwrap();
    let task: Value = answer.json().await.unwrap();
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(task["receiver"]["source"], "poll", "{task}");

    keep(&Pem::good());
    let deadline = Instant::now() + PATIENCE;
    while readiness(&receiver).await.0 != 200 {
        assert!(Instant::now() < deadline, "{}", receiver.log_tail());
        sleep(Duration::from_millis(50)).await;
    }
    let log = receiver.log();
    let said = log
        .matches("certificate of the public listener has expired")
        .count();
    assert_eq!(said, 1, "{log}");
    assert!(log.contains("serving a new certificate"), "{log}");
    receiver.stop().await;
}
