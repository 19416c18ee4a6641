//! Probes of `check --online`: they need a key of the ring, and change nothing.

use std::time::Duration;

use evolink_receiver::domain::callback::KeyRing;
use serde_json::json;

use crate::support::app::START as NOW;
use crate::support::app::desk::Desk;

#[tokio::test]
async fn a_probe_is_answered_with_its_proof_and_writes_nothing() {
    let mut desk = Desk::open().await;
    let (before, version) = (desk.rows().await, desk.version().await);
    let probe = desk.app.key_ring.probe(NOW, 7);
    let (status, body) = desk.app.callback(&probe.token, "").await;
    let expected = json!({"result": "probe", "proof": probe.proof}).to_string();
    assert_eq!((status, body.len()), (200, expected.len()), "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["proof"], probe.proof);
    assert_eq!((desk.rows().await, desk.version().await), (before, version));
    assert_eq!(desk.app.callbacks_received(), 0);
    desk.assert_well("a probe").await;
}

#[tokio::test]
async fn a_probe_that_is_old_or_foreign_or_changed_gets_the_answer_of_any_wrong_token() {
    let desk = Desk::open().await;
    let wrong = desk.app.callback("nobody", "").await;
    assert_eq!(wrong, (404, String::new()));
    let foreign = KeyRing::parse(&KeyRing::generate().unwrap()).unwrap();
    let old = NOW.before(Duration::from_mins(6));
    let early = NOW.after(Duration::from_mins(6));
    let good = desk.app.key_ring.probe(NOW, 7).token;
    for token in [
        foreign.probe(NOW, 7).token,
        desk.app.key_ring.probe(old, 7).token,
        desk.app.key_ring.probe(early, 7).token,
        good.replace("-00000007", "-00000008"),
        format!("{good}A"),
        good.replace("probe-", "-probe-"),
        good.replace('.', "%2e"),
    ] {
        assert_eq!(desk.app.callback(&token, "").await, wrong, "{token}");
    }
}
