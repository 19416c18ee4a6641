//! `public.self_test`: a running service tests itself, and shows the result.

use std::time::Duration;

use evolink_receiver::simulator::Options;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::app::TestApp;
use crate::support::until::PATIENCE;

#[tokio::test]
async fn a_running_service_shows_which_of_its_tests_fail_and_stays_ready() {
    let builder =
        TestApp::builder().with(|config| config.public.self_test = Duration::from_secs(1));
    let (app, _simulator) = builder.start_with_simulator(Options::default()).await;
    let deadline = Instant::now() + PATIENCE;
    let message = loop {
        let (status, ready) = app.get("/readyz?verbose").await;
        assert_eq!(
            status, 200,
            "faults outside are no reason to get no callbacks"
        );
        let part = &ready["details"]["self_test"];
        if part["state"] == "failing" {
            break part["message"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "never tested: {part}");
        sleep(Duration::from_millis(50)).await;
    };
    // The certificate is self-signed, and the name is this machine's.
    assert!(message.starts_with("dns: localhost is "), "{message}");
    assert!(
        message.contains("; tls: the issuer of the certificate is not known"),
        "{message}"
    );
    let step = |name| app.counter(&format!("evolink_receiver_self_test{{step=\"{name}\"}}"));
    assert_eq!(
        ["evolink_key", "dns", "tls", "route"].map(step),
        [1, 0, 0, 0]
    );
    assert!(app.counter("evolink_receiver_self_test_timestamp_seconds{}") > 0);
}

#[tokio::test]
async fn by_default_nothing_is_tested() {
    let app = TestApp::start().await;
    let (_, ready) = app.get("/readyz?verbose").await;
    let expected = json!({"state": "ok", "message": "off: see public.self_test"});
    assert_eq!(ready["details"]["self_test"], expected);
    assert!(!app.metrics.render().contains("evolink_receiver_self_test{"));
}
