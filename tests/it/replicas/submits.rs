//! A submit to one replica, its callback at another, the query to a third, and one
//! `Idempotency-Key` at all of them.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::three::{Replicas, SILENT, completed, tally};
use crate::support::app::TestApp;

const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

#[tokio::test]
async fn submit_callback_and_query_may_each_go_to_another_replica() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    for [submits, is_called_back, is_asked] in ORDERS {
        let submit = replicas.submit(submits).await;
        let path = format!("/v1/tasks/{}", submit.task_id);
        let (status, before) = replicas.apps[is_asked].get(&path).await;
        assert_eq!((status, &before["status"]), (200, &json!("pending")));
        let result = replicas.apps[is_called_back]
            .callback_result(&submit.token, completed(&submit.task_id))
            .await;
        assert_eq!(result, "recorded");
        for id in [&submit.task_id, &submit.submission_id] {
            let (status, task) = replicas.apps[is_asked]
                .get(&format!("/v1/tasks/{id}"))
                .await;
            assert_eq!((status, &task["status"]), (200, &json!("completed")));
            assert_eq!(task["receiver"]["source"], "callback");
        }
        assert_eq!(
            replicas.events(&submit).await,
            ["task.submitted", "task.completed"]
        );
    }
    assert_eq!(replicas.simulator.stats().charges, 6);
    replicas.assert_well().await;
}

async fn submit_under(app: &TestApp, key: &str, prompt: &str) -> (u16, bool, Value) {
    let body = json!({"model": "z-image-turbo", "prompt": prompt});
    let request = app.request(Method::POST, "/v1/images/generations");
    let request = request.header("idempotency-key", key).json(&body);
    let answer = request.send().await.unwrap();
    let is_replay = answer.headers().contains_key("idempotency-replayed");
    (
        answer.status().as_u16(),
        is_replay,
        answer.json().await.unwrap(),
    )
}

#[tokio::test]
async fn i20_one_idempotency_key_at_all_replicas_is_one_charge() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    for round in 0..5 {
        let key = format!("order-4711-round-{round}");
        let prompt = format!("[sim:stall=100ms,duration=10m,lost-callback] {round}");
        let all = replicas.apps.iter().cycle().take(12);
        let answers = join_all(all.map(|app| submit_under(app, &key, &prompt))).await;
        assert_eq!(replicas.simulator.stats().charges, round + 1);
        let fresh = answers.iter().filter(|(_, is_replay, _)| !is_replay);
        assert_eq!(fresh.count(), 1, "round {round}: {answers:?}");
        let ids = tally(answers.iter().map(|(_, _, task)| task["id"].to_string()));
        assert_eq!(ids.len(), 1, "round {round}: {answers:?}");
        assert!(answers.iter().all(|(status, ..)| *status == 200));
        for app in &replicas.apps {
            let (status, _, answer) = submit_under(app, &key, SILENT).await;
            assert_eq!(
                (status, &answer["error"]["code"]),
                (422, &json!("idempotency_conflict")),
                "another body"
            );
        }
    }
}
