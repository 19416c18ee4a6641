//! `/readyz` of a running receiver.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::receiver::Receiver;
use crate::support::until::PATIENCE;

/// `/readyz` answers within 2 s, whatever hangs. The rest is a margin for a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Waits until `/readyz` answers `status`, and asserts that each answer is in time.
pub async fn ready_is(receiver: &Receiver, status: u16) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = timeout(ANSWER_WITHIN, receiver.get("/readyz?verbose")).await;
        let (now, body) = answer.expect("an answer in time").expect("an answer");
        if now == status {
            return body;
        }
        assert!(Instant::now() < deadline, "never {status}: {body}");
        sleep(Duration::from_millis(200)).await;
    }
}
