//! Outcomes that only polls find show that callbacks do not arrive. Operators can see this.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::app::desk::Desk;
use crate::support::until::PATIENCE;

const SERIES: &str = "evolink_receiver_outcomes_by_poll_only";

/// Submits, and waits for the outcome, which a poll finds if no callback came before.
async fn outcome(desk: &Desk, prompt: &str) -> Value {
    let task = desk.app.submitted(prompt).await;
    desk.app.clock.advance(Duration::from_mins(1));
    let id = task["id"].as_str().unwrap();
    let is_done = |task: &Value| task["status"] == "completed";
    desk.app.task_when(id, is_done).await["receiver"]["source"].clone()
}

/// Waits until `/readyz?verbose` shows callbacks in `state`. Returns the message.
async fn shown(desk: &Desk, state: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, ready) = desk.app.get("/readyz?verbose").await;
        let part = &ready["details"]["callbacks"];
        assert_eq!(status, 200, "the service does its work");
        if part["state"] == state {
            return part["message"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "never {state}: {part}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn five_outcomes_in_a_row_without_a_callback_are_reported_until_one_tells_again() {
    let desk = Desk::open().await;
    shown(&desk, "ok").await;
    for _ in 0..5 {
        let source = outcome(&desk, "a [sim:lost-callback,duration=0ms]").await;
        assert_eq!(source, json!("poll"));
    }
    assert_eq!(desk.app.callback("nobody", "").await.0, 404);
    desk.app.clock.advance(Duration::from_mins(1));
    let message = shown(&desk, "warning").await;
    assert!(
        message.contains("the last 5 outcomes, since 20"),
        "{message}"
    );
    // The simulator's address, and what was refused.
    assert!(
        message.contains("1. public.base_url is an internal address"),
        "{message}"
    );
    assert!(
        message.contains("2. callbacks were refused (no_token, 1 times)"),
        "{message}"
    );
    assert_eq!(desk.app.counter(SERIES), 1);
    let task = desk.app.submitted("a [sim:duration=10ms]").await;
    let id = task["id"].as_str().unwrap();
    let is_done = |task: &Value| task["status"] == "completed";
    let task = desk.app.task_when(id, is_done).await;
    assert_eq!(task["receiver"]["source"], "callback");
    desk.app.clock.advance(Duration::from_mins(1));
    let message = shown(&desk, "ok").await;
    assert!(message.starts_with("the last callback came "), "{message}");
    assert_eq!(desk.app.counter(SERIES), 0);
}
