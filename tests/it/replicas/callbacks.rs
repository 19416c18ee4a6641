//! I10, I13: the callbacks of one task, sent to all replicas at once, cause one transition and one
//! event.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::three::{Replicas, Submit, body, completed, tally};
use crate::support::campaign::rounds;
use crate::support::net::raw::RawClient;

/// Equal POSTs at once.
const COPIES: usize = 64;

/// Fewer than the requests that a connection accepts.
const ROUNDS_PER_CONNECTION: u32 = 90;

async fn connect_all(replicas: &Replicas) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for app in replicas.apps.iter().cycle().take(COPIES) {
        clients.push(app.raw_public().await);
    }
    clients
}

fn request(submit: &Submit) -> String {
    let body = completed(&submit.task_id);
    let length = body.len();
    format!(
        "POST /callbacks/{} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}",
        submit.token
    )
}

/// Sends the request by every client at the same moment, and returns how often each result was
/// answered.
async fn at_once(clients: &mut Vec<RawClient>, request: &str) -> HashMap<String, usize> {
    let barrier = Arc::new(Barrier::new(clients.len()));
    let mut senders = JoinSet::new();
    for mut client in clients.drain(..) {
        let (barrier, request) = (Arc::clone(&barrier), request.to_owned());
        senders.spawn(async move {
            barrier.wait().await;
            client.send(request).await;
            let response = client.read_response().await;
            assert_eq!(response.status, 200, "{response:?}");
            let answer: Value = serde_json::from_str(response.text()).unwrap();
            (client, answer["result"].as_str().unwrap().to_owned())
        });
    }
    let (back, results): (Vec<_>, Vec<_>) = senders.join_all().await.into_iter().unzip();
    *clients = back;
    tally(results)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_equal_callbacks_over_three_replicas_one_is_recorded_and_the_others_are_duplicates() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let rounds = rounds(20, 1000);
    let mut clients = Vec::new();
    for round in 0..rounds {
        if round % ROUNDS_PER_CONNECTION == 0 {
            clients = connect_all(&replicas).await;
        }
        let submit = replicas.submit(round as usize % 3).await;
        let results = at_once(&mut clients, &request(&submit)).await;
        let expected = [("recorded", 1), ("duplicate", COPIES - 1)];
        let expected = expected.map(|(result, count)| (result.to_owned(), count));
        assert_eq!(results, HashMap::from(expected), "round {round}");
        assert_eq!(
            replicas.events(&submit).await,
            ["task.submitted", "task.completed"],
            "round {round}"
        );
    }
    let outcomes = "evolink_receiver_outcomes_total{type=\"task.completed\",source=\"callback\"}";
    assert_eq!(replicas.counted(outcomes), u64::from(rounds));
    drop(clients);
    replicas.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_outcomes_at_two_replicas_at_once_one_stays_and_the_other_is_a_conflict() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    for round in 0..rounds(20, 500) as usize {
        let [one, other] = [0, 1].map(|step| &replicas.apps[(round + step) % 3]);
        let submit = replicas.submit((round + 2) % 3).await;
        let (first, second) = tokio::join!(
            one.callback_result(&submit.token, completed(&submit.task_id)),
            other.callback_result(&submit.token, body(&submit.task_id, "failed")),
        );
        let winner = match (first.as_str(), second.as_str()) {
            ("recorded", "conflict") => "completed",
            ("conflict", "recorded") => "failed",
            other => panic!("round {round}: {other:?}"),
        };
        let outcome = format!("task.{winner}");
        assert_eq!(
            replicas.events(&submit).await,
            ["task.submitted", &outcome, "task.conflict"]
        );
        for app in &replicas.apps {
            let (_, task) = app.get(&format!("/v1/tasks/{}", submit.task_id)).await;
            assert_eq!(task["status"], winner, "round {round}");
        }
    }
    replicas.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_replicas_that_receive_the_first_callback_of_a_task_create_one_task() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let mut clients = connect_all(&replicas).await;
    for round in 0..rounds(20, 80) {
        let task_id = format!("task-unified-1757165031-new{round:08}");
        let submit = Submit {
            submission_id: String::new(),
            token: replicas.apps[0].standing_token("shop"),
            task_id,
        };
        let results = at_once(&mut clients, &request(&submit)).await;
        assert_eq!(results["recorded"], 1, "round {round}: {results:?}");
        assert_eq!(
            results["duplicate"],
            COPIES - 1,
            "round {round}: {results:?}"
        );
    }
    let counts: (i64, i64, i64) = replicas
        .database
        .row(
            "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM observation), (SELECT count(*) FROM event)",
            &[],
        )
        .await;
    assert_eq!(counts.0, counts.2, "one event for each task: {counts:?}");
    replicas.assert_well().await;
}
