//! How an observation bound its task, as the history of the task tells it.

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::simulator::Options;
use serde_json::{Value, json};

use super::submitted::submitted;
use crate::internal::calls::{completed, generation, submit, token_of};
use crate::support::app::TestApp;
use crate::support::app::answer::get;

/// The fields of each observation, except its body.
fn observed(history: &Value) -> Vec<[Value; 4]> {
    let items = history["data"].as_array().unwrap().iter();
    let observations = items.filter(|item| item["type"] == "observation");
    observations
        .map(|item| ["source", "nth", "result", "bound"].map(|name| item[name].clone()))
        .collect()
}

#[tokio::test]
async fn each_way_is_told_by_its_number_and_the_first_by_how_it_bound_the_task() {
    let builder = TestApp::builder().with_manual_clock();
    let (app, _evolink) = builder.start_with_simulator(Options::default()).await;
    let (id, _, token) = submitted(&app, "[sim:lost-callback,duration=0ms]").await;
    let step = std::time::Duration::from_millis(1500);
    for progress in [10, 20] {
        app.clock.advance(step);
        let body = json!({"id": id, "status": "processing", "progress": progress}).to_string();
        assert_eq!(app.callback_result(&token, body).await, "recorded");
    }
    let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
    let null = Value::Null;
    let wanted = [
        [
            json!("submit"),
            json!(1),
            json!("recorded"),
            json!("answered"),
        ],
        [json!("callback"), json!(1), json!("recorded"), null.clone()],
        [json!("callback"), json!(2), json!("recorded"), null.clone()],
    ];
    assert_eq!(observed(&history), wanted);
    let items = history["data"].as_array().unwrap();
    let after: Vec<i64> = items
        .iter()
        .map(|item| item["after_ms"].as_i64().unwrap())
        .collect();
    assert_eq!(
        after,
        [0, 0, 0, 1500, 1500, 3000],
        "begun, answered, submitted; two callbacks, one event"
    );
    // The outcome is found by a poll.
    app.clock.advance(std::time::Duration::from_mins(20));
    app.task_when(&id, |task| task["status"] == "completed")
        .await;
    let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
    let polls = observed(&history)
        .into_iter()
        .filter(|[source, ..]| source == "poll");
    let numbers: Vec<Value> = polls.map(|[_, nth, ..]| nth).collect();
    assert!(!numbers.is_empty(), "{history}");
    assert_eq!(
        numbers,
        (1..=numbers.len())
            .map(|nth| json!(nth))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_task_that_was_not_bound_by_an_answer_tells_how_it_came_to_be_known() {
    let builder = TestApp::builder().with_manual_clock();
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    for (fault, bound) in [
        ("bad-gateway,lost-callback,never-ends", "adopted"),
        ("no-quota", "revived"),
    ] {
        let answer = submit(&app, &generation(&format!("[sim:{fault}]"))).await;
        let submission_id = answer.header("x-submission-id").unwrap();
        let id = format!("task-unified-1757165031-{bound}");
        let token = token_of(&app, submission_id);
        assert_eq!(
            app.callback_result(&token, completed(&id)).await,
            "recorded"
        );
        let history = get(&app, &format!("/v1/tasks/{id}/events")).await.body;
        let wanted = [json!("callback"), json!(1), json!("recorded"), json!(bound)];
        assert_eq!(observed(&history), [wanted], "{history}");
        let ended = history["data"][1]["result"].as_str().unwrap();
        assert!(["unknown", "refused"].contains(&ended), "{history}");
    }
    let forgotten = SubmissionId::new(app.clock.now());
    let token = token_of(&app, &forgotten.to_string());
    assert_eq!(
        app.callback_result(&token, completed("task-restored"))
            .await,
        "recorded"
    );
    let history = get(&app, "/v1/tasks/task-restored/events").await.body;
    assert_eq!(history["data"][0]["bound"], "restored", "{history}");
    assert_eq!(
        history["data"][0]["after_ms"], 0,
        "its id tells when it was submitted"
    );
    drop(evolink);
}
