//! Tasks that no worker handles any more are counted, so that an operator can be alerted.

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::simulator::Options;
use serde_json::json;

use super::{body, builder, seconds};
use crate::support::until::until;

fn series(state: &str) -> String {
    format!("evolink_receiver_tasks{{state=\"{state}\"}}")
}

#[tokio::test]
async fn submits_of_unknown_outcome_and_unresolved_tasks_are_counted() {
    let (app, evolink) = builder().start_with_simulator(Options::default()).await;
    let prompt = "[sim:reset,lost-callback,never-ends]";
    let generation = json!({"model": "z-image-turbo", "prompt": prompt});
    let (status, unknown) = app.submit(&generation).await;
    assert_eq!(status, 504, "{unknown}");
    let given_up = app.submitted("[sim:never-ends]").await;
    let given_up = given_up["id"].as_str().unwrap();
    app.clock.advance(seconds(24 * 3600));
    app.task_when(given_up, |task| task["receiver"]["state"] == "unresolved")
        .await;
    // The count is updated now and then, and at the start.
    let (_, builder) = app.stop().await;
    let app = builder.start().await;
    until("they are counted", || {
        ["submit_unknown", "unresolved"].map(|state| app.counter(&series(state))) == [1, 1]
    })
    .await;
    let id = unknown["error"]["submission_id"].as_str().unwrap();
    let token = app.token(&Subject::Submission(id.parse().unwrap()));
    let charged = evolink.tasks().first().unwrap().id.clone();
    let result = app
        .callback_result(&token, body(&charged, "completed"))
        .await;
    assert_eq!(result, "recorded");
    let (_, builder) = app.stop().await;
    let app = builder.start().await;
    until("it is counted no more", || {
        ["submit_unknown", "unresolved"].map(|state| app.counter(&series(state))) == [0, 1]
    })
    .await;
}
