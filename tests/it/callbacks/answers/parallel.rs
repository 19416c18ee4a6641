//! A callback that arrives many times at once is recorded once and makes one event.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

use crate::support::app::callback_body::{body, completed};
use crate::support::app::desk::Desk;
use crate::support::net::raw::RawClient;

/// Number of equal requests sent at once.
const COPIES: usize = 64;

fn rounds() -> usize {
    let long =
        std::env::var_os("EVOLINK_RECEIVER_TEST_LONG").is_some_and(|value| !value.is_empty());
    if long { 1000 } else { 50 }
}

async fn connect_all(desk: &Desk) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for _ in 0..COPIES {
        clients.push(desk.app.raw_public().await);
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i13_of_64_equal_callbacks_at_once_one_is_recorded_and_the_others_are_duplicates() {
    // On a slow machine a connection may wait for long until its next round.
    let mut desk =
        Desk::open_with(|config| config.public.header_timeout = Duration::from_mins(1)).await;
    let mut clients = Vec::new();
    for round in 0..rounds() {
        // A connection accepts a hundred requests.
        if round % 90 == 0 {
            clients = connect_all(&desk).await;
        }
        let submit = desk.bound().await;
        let body = completed(&submit.task_id);
        let request = format!(
            "POST /callbacks/{} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            submit.token,
            body.len()
        );
        let barrier = Arc::new(Barrier::new(COPIES));
        let senders: Vec<_> = clients
            .drain(..)
            .map(|mut client| {
                let (barrier, request) = (Arc::clone(&barrier), request.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    client.send(request).await;
                    let response = client.read_response().await;
                    assert_eq!(response.status, 200, "{response:?}");
                    (client, response.text().to_owned())
                })
            })
            .collect();
        let mut results = Vec::new();
        for sender in senders {
            let (client, result) = sender.await.unwrap();
            clients.push(client);
            results.push(result);
        }
        let count = |result: &str| {
            results
                .iter()
                .filter(|other| other.contains(result))
                .count()
        };
        assert_eq!(
            (count("recorded"), count("duplicate")),
            (1, COPIES - 1),
            "round {round}: {results:?}"
        );
        assert_eq!(
            desk.events(&submit).await,
            ["task.submitted", "task.completed"],
            "round {round}"
        );
    }
    drop(clients);
    desk.assert_well("all rounds").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i11_of_two_outcomes_at_once_one_stays_and_the_other_is_a_conflict() {
    let mut desk = Desk::open().await;
    for round in 0..50 {
        let submit = desk.bound().await;
        let failed = body(&submit.task_id, "failed", &serde_json::json!({}));
        let (first, second) = tokio::join!(
            desk.app
                .callback_result(&submit.token, completed(&submit.task_id)),
            desk.app.callback_result(&submit.token, failed),
        );
        let winner = match (first.as_str(), second.as_str()) {
            ("recorded", "conflict") => "completed",
            ("conflict", "recorded") => "failed",
            other => panic!("round {round}: {other:?}"),
        };
        assert_eq!(desk.state(&submit).await.0, winner, "round {round}");
        let outcome = format!("task.{winner}");
        assert_eq!(
            desk.events(&submit).await,
            ["task.submitted", &outcome, "task.conflict"]
        );
    }
    desk.assert_well("all rounds").await;
}
