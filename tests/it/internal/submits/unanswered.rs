//! Submits that EvoLink accepted and charged, but whose answer never arrived. There is one charge
//! and one POST whatever happens, and the callback adopts the task.

use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::simulator::{Options, Simulator};
use serde_json::json;
use tokio::time::sleep;

use crate::internal::calls::{SUBMIT, completed, generation, state, submit, token_of};
use crate::support::app::answer::{Answer, get};
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::net::raw::RawClient;
use crate::support::until::until;

/// Time in which the receiver looks several times for submits to give up.
const SOME_LOOKS: Duration = Duration::from_millis(1200);

/// A task that runs far longer than the test.
const LONG: &str = "duration=10m";

async fn assert_unknown_then_adopted(
    app: &TestApp,
    evolink: &Simulator,
    answer: &Answer,
    why: &str,
) {
    let id = answer.assert_unknown(why);
    assert_eq!(state(app, &id).await, "submit_unknown", "{why}");
    let task_id = evolink.tasks().pop().unwrap().id;
    let result = app
        .callback_result(&token_of(app, &id), completed(&task_id))
        .await;
    assert_eq!(result, "recorded", "{why}");
    let task = get(app, &format!("/v1/tasks/{task_id}")).await.body;
    assert_eq!(task["receiver"]["state"], "completed", "{why}");
    assert_eq!(task["receiver"]["submission_id"], id.as_str(), "{why}");
    assert_eq!(
        (evolink.stats().charges, evolink.stats().submits),
        (1, 1),
        "{why}"
    );
}

#[tokio::test]
async fn i19_accepted_charged_and_never_answered_is_charged_once() {
    let faults = [
        "reset",
        "bad-gateway",
        "garbage",
        "gateway-timeout",
        "request-timeout",
        "accepted-500",
        "truncated-answer",
        "no-id",
        "number-id",
    ];
    for fault in faults {
        let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
        let answer = submit(&app, &generation(&format!("[sim:{fault},{LONG}]"))).await;
        assert_unknown_then_adopted(&app, &evolink, &answer, fault).await;
    }
}

#[tokio::test]
async fn i19_a_stall_is_charged_once() {
    let builder = TestApp::builder().with(|config| config.evolink.timeout = Duration::from_secs(4));
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let answer = submit(&app, &generation(&format!("[sim:stall=60s,{LONG}]"))).await;
    assert_unknown_then_adopted(&app, &evolink, &answer, "stall").await;
}

#[tokio::test]
async fn i19_evolinks_own_callback_resolves_it() {
    let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
    let answer = submit(&app, &generation("[sim:reset,duration=300ms]")).await;
    let id = answer.assert_unknown("reset");
    let task = app
        .task_when(&id, |task| task["status"] == "completed")
        .await;
    assert_eq!(task["id"], evolink.tasks()[0].id.as_str());
    assert_eq!(task["receiver"]["source"], "callback");
    assert_eq!((evolink.stats().charges, evolink.stats().submits), (1, 1));
    app.assert_counters_balance();
}

#[tokio::test]
async fn a_callback_may_beat_the_answer() {
    let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
    let task = app.submitted("[sim:early-callback,duration=0ms]").await;
    assert_eq!(
        (&task["status"], &task["receiver"]["source"]),
        (&json!("completed"), &json!("callback"))
    );
    assert_eq!(
        app.counter("evolink_receiver_outcomes_total{type=\"task.completed\",source=\"callback\"}"),
        1
    );
    assert_eq!(evolink.stats().charges, 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_a_submit_that_is_recorded_to_its_end() {
    let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
    let body = generation(&format!("[sim:stall=1s,{LONG}]")).to_string();
    let mut client = RawClient::connect_plain(app.internal).await;
    client
        .send(format!(
            "POST {SUBMIT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    until("EvoLink has the submit", || evolink.stats().charges == 1).await;
    drop(client);
    until("EvoLink's task", || !evolink.tasks().is_empty()).await;
    let task_id = evolink.tasks()[0].id.clone();
    let task = app
        .task_when(&task_id, |task| task["status"] == "pending")
        .await;
    assert_eq!(
        (&task["receiver"]["state"], &task["receiver"]["source"]),
        (&json!("pending"), &json!("submit"))
    );
    assert_eq!(evolink.stats().submits, 1);
}

/// Submits on a runtime that is dropped with everything on it, before EvoLink answers.
async fn crash_while_submitting(builder: TestAppBuilder, evolink: &Arc<Simulator>) {
    let evolink = Arc::clone(evolink);
    let process = tokio::task::spawn_blocking(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let app = builder.start().await;
            let body = generation(&format!("[sim:stall=10m,{LONG}]"));
            let asking = async { app.submit(&body).await };
            let charged = until("EvoLink has the submit", || evolink.stats().charges == 1);
            tokio::select! {
                answer = asking => panic!("nobody was to be told of an outcome: {answer:?}"),
                () = charged => {}
            }
        });
    });
    process.await.unwrap();
}

#[tokio::test]
async fn i18_a_crash_between_intent_and_answer_leaves_a_submit_that_a_callback_adopts() {
    let builder = TestApp::builder().with_manual_clock();
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let evolink = Arc::new(evolink);
    let (_, builder) = app.stop().await;
    crash_while_submitting(builder.clone(), &evolink).await;

    let app = builder.start().await;
    let task = get(&app, "/v1/tasks").await.body["data"][0].clone();
    assert_eq!(task["receiver"]["state"], "submitting");
    let id = task["receiver"]["submission_id"].as_str().unwrap();
    // It is not given up before twice EvoLink's timeout, 30 s, and our grace period, 30 s, have
    // passed.
    app.clock.advance(Duration::from_secs(89));
    sleep(SOME_LOOKS).await;
    assert_eq!(state(&app, id).await, "submitting");
    app.clock.advance(Duration::from_secs(2));
    app.task_when(id, |task| task["receiver"]["state"] == "submit_unknown")
        .await;
    let task_id = evolink.tasks()[0].id.clone();
    let result = app
        .callback_result(&token_of(&app, id), completed(&task_id))
        .await;
    assert_eq!(result, "recorded");
    assert_eq!(state(&app, &task_id).await, "completed");
    assert_eq!((evolink.stats().charges, evolink.stats().submits), (1, 1));
}
