//! The task list, its pages and a task's history are the same at every replica.

use serde_json::Value;

use super::three::{Replicas, body, completed, items};

/// Submits, some of which have an outcome.
const TASKS: usize = 30;

async fn list(replicas: &Replicas, at: usize, query: &str) -> Value {
    let (status, page) = replicas.apps[at].get(&format!("/v1/tasks?{query}")).await;
    assert_eq!(status, 200, "{page}");
    page
}

#[tokio::test]
async fn lists_and_histories_are_equal_from_all_replicas() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let mut submits = Vec::new();
    for number in 0..TASKS {
        let submit = replicas.submit(number % 3).await;
        let app = &replicas.apps[(number + 1) % 3];
        let callback = match number % 4 {
            0 => Some(completed(&submit.task_id)),
            1 => Some(body(&submit.task_id, "failed")),
            2 => Some(body(&submit.task_id, "processing")),
            _ => None,
        };
        if let Some(callback) = callback {
            let result = app.callback_result(&submit.token, callback).await;
            assert_eq!(result, "recorded");
        }
        submits.push(submit);
    }
    for query in ["limit=200", "status=completed", "status=pending&limit=5"] {
        let seen = list(&replicas, 0, query).await;
        assert!(!items(&seen).is_empty());
        for at in [1, 2] {
            assert_eq!(list(&replicas, at, query).await, seen, "{query}");
        }
    }
    let whole = items(&list(&replicas, 0, "limit=200").await);
    assert_eq!(whole.len(), TASKS);
    assert_eq!(turned_over(&replicas).await, whole);
    for submit in &submits {
        let path = format!("/v1/tasks/{}/events", submit.task_id);
        let (status, history) = replicas.apps[0].get(&path).await;
        assert_eq!(status, 200);
        assert!(!items(&history).is_empty());
        for app in &replicas.apps[1..] {
            assert_eq!(app.get(&path).await, (200, history.clone()));
        }
    }
}

/// Reads all tasks, each page from another replica than the one before.
async fn turned_over(replicas: &Replicas) -> Vec<Value> {
    let mut all = Vec::new();
    let mut query = "limit=7".to_owned();
    for turn in 0..TASKS {
        let page = list(replicas, turn % 3, &query).await;
        all.extend(items(&page));
        let Some(cursor) = page["next"].as_str() else {
            return all;
        };
        query = format!("limit=7&cursor={cursor}");
    }
    panic!("the list has no end");
}
