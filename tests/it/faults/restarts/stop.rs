//! The worst case for a stop: a submit that EvoLink does not answer.

use std::time::Duration;

use evolink_receiver::simulator::Options;
use serde_json::json;
use tokio::time::Instant;

use super::{STOP_MAX, base_url, staged, submit};
use crate::support::until::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_answers_a_submit_that_evolink_does_not_and_records_it_as_unknown() {
    const KEY: &str = "stalled-while-stopping";
    const PROMPT: &str = "[sim:stall=60s,duration=8s]";
    let (place, simulator) = staged(Options::default()).await;
    let mut receiver = place.start().await;
    let (http, url) = (receiver.http.clone(), base_url(&receiver));
    let asking = tokio::spawn(async move { submit(&http, &url, KEY, PROMPT).await });
    until("EvoLink has the submit", || simulator.stats().charges == 1).await;
    let begun = Instant::now();
    receiver.terminate();
    let (status, body) = asking
        .await
        .unwrap()
        .expect("an answer, not a cut connection");
    assert_eq!(
        (status, &body["error"]["code"]),
        (504, &json!("submit_outcome_unknown"))
    );
    let status = receiver.ended().await;
    assert_eq!(status.code(), Some(0), "{}", receiver.log_tail());
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());

    receiver = place.start().await;
    let id = body["error"]["submission_id"].as_str().unwrap();
    let (_, task) = receiver.get(&format!("/v1/tasks/{id}")).await.unwrap();
    let state = task["receiver"]["state"].as_str().unwrap();
    // The submit is unknown at once; on a slow machine EvoLink's callback may have completed the
    // task meanwhile.
    assert!(matches!(state, "submit_unknown" | "completed"), "{task}");
    let url = base_url(&receiver);
    let deadline = Instant::now() + Duration::from_mins(1);
    let (status, task) = loop {
        let again = submit(&receiver.http, &url, KEY, PROMPT).await.unwrap();
        if again.0 != 504 || Instant::now() > deadline {
            break again;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        (status, &task["receiver"]["state"]),
        (200, &json!("completed")),
        "{task}"
    );
    assert_eq!(task["id"], simulator.tasks()[0].id.as_str());
    assert_eq!(
        (simulator.stats().submits, simulator.stats().charges),
        (1, 1)
    );
}
