//! The effects of a forger, a conflict, a restart and a long silence.

use std::time::Duration;

use evolink_receiver::domain::task::confirmation::Confirm;
use evolink_receiver::simulator::Options;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Kind, NEXT_POLL, Oracle, POLL_GAP_MIN, SOME_TICKS, Says, after_poll, doubted, id_of,
    receiver_member, token,
};
use crate::support::app::TestApp;
use crate::support::app::callback_body::{body, completed, completed_with};

#[tokio::test]
async fn a_forged_early_callback_ends_nothing_and_the_true_outcome_does() {
    for confirm in [Confirm::Suspicious, Confirm::Always] {
        let (app, simulator) = TestApp::builder()
            .with(|config| {
                config.callbacks.confirm = confirm;
                config.reconcile.interval_min = Duration::from_secs(1);
            })
            .start_with_simulator(Options::default())
            .await;
        let request =
            json!({"model": "z-image-turbo", "prompt": "[sim:bad-gateway,lost-callback]"});
        let (status, _) = app.submit(&request).await;
        assert_eq!(status, 504);
        let task = simulator.tasks().pop().unwrap();
        let url = task.callback_url.unwrap();
        let (_, token) = url.rsplit_once('/').unwrap();
        let forged = body(&task.id, "failed", &json!({}));
        assert_eq!(app.callback_result(token, forged).await, "recorded");
        let waiting = app.get(&format!("/v1/tasks/{}", task.id)).await.1;
        let receiver = &waiting["receiver"];
        assert!(["pending", "processing"].contains(&receiver["state"].as_str().unwrap()));
        assert_eq!(receiver["unconfirmed"], "failed", "{waiting}");
        let ended = app
            .task_when(&task.id, |task| task["receiver"]["outcome_at"].is_string())
            .await;
        assert_eq!(ended["receiver"]["state"], "completed", "{ended}");
        assert_eq!(ended["receiver"]["source"], "poll");
        assert_eq!(
            app.counter(
                "evolink_receiver_outcomes_total{type=\"task.failed\",source=\"callback\"}"
            ),
            0
        );
        assert_eq!(simulator.stats().charges, 1);
    }
}

#[tokio::test]
async fn an_id_that_only_a_callback_has_named_stays_suspicious() {
    let oracle = Oracle::start(Says::Gone).await;
    let app = oracle.receiver(Confirm::Suspicious).await;
    let kind = Kind::AfterAnUnknownSubmit;
    let (id, token) = (id_of(kind), token(&app, kind).await);
    // The first callback binds the id and claims no outcome. The second one must not profit from
    // that.
    let first = body(&id, "processing", &json!({}));
    assert_eq!(app.callback_result(&token, first).await, "recorded");
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    assert_eq!(receiver_member(&app, &id).await["state"], "processing");
    assert_eq!(doubted(&app, "late_id"), 1);
}

#[tokio::test]
async fn a_true_callback_is_confirmed_by_one_poll_right_after_it() {
    let (app, simulator) = TestApp::builder()
        .with(|config| {
            config.callbacks.confirm = Confirm::Always;
            // Only the callback can cause a poll.
            config.reconcile.first_poll_after = Duration::from_hours(1);
        })
        .start_with_simulator(Options::default())
        .await;
    let task = app.submitted("a").await;
    let id = task["id"].as_str().unwrap();
    let ended = app
        .task_when(id, |task| task["receiver"]["state"] == "completed")
        .await;
    assert_eq!(ended["receiver"]["source"], "poll");
    assert_eq!(simulator.queries().len(), 1);
    assert_eq!(
        simulator.callback_attempts().len(),
        1,
        "answered 2xx at once"
    );
    assert_eq!(
        doubted(&app, "unlisted_host"),
        1,
        "the simulator's files are on this machine"
    );
}

#[tokio::test]
async fn a_conflict_has_evolink_asked_once_and_changes_nothing() {
    let oracle = Oracle::start(Says::Completed).await;
    let app = oracle.receiver(Confirm::Suspicious).await;
    let (id, token) = (id_of(Kind::Plain), token(&app, Kind::Plain).await);
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    let ended = app.get(&format!("/v1/tasks/{id}")).await.1;
    let failed = body(&id, "failed", &json!({}));
    for _ in 0..3 {
        assert_eq!(
            app.callback_result(&token, failed.clone()).await,
            "conflict"
        );
    }
    let answered = after_poll(&app, &oracle, &id, 1).await;
    assert_eq!(
        answered,
        [json!("completed"), json!("callback"), Value::Null]
    );
    // A repeat of the same conflict causes no poll. Another conflict does, but not before the
    // minimum gap.
    let other = completed_with(&id, &json!(["https://files.evolink.ai/images/other.webp"]));
    for body in [&failed, &other] {
        assert_eq!(app.callback_result(&token, body.clone()).await, "conflict");
    }
    app.clock
        .advance(POLL_GAP_MIN.saturating_sub(Duration::from_millis(1)));
    sleep(SOME_TICKS).await;
    assert_eq!(oracle.polls(&id), 1);
    app.clock.advance(Duration::from_millis(1));
    after_poll(&app, &oracle, &id, 2).await;
    app.clock.advance(Duration::from_hours(1));
    sleep(SOME_TICKS).await;
    assert_eq!(oracle.polls(&id), 2);
    assert_eq!(app.get(&format!("/v1/tasks/{id}")).await.1, ended);
    assert_eq!(doubted(&app, "conflict"), 2);
    let history = app.get(&format!("/v1/tasks/{id}/events")).await.1;
    let items = history["data"].as_array().unwrap().iter();
    let polled: Vec<&Value> = items.filter(|item| item["source"] == "poll").collect();
    assert!(
        polled.iter().all(|item| item["result"] == "duplicate"),
        "{history}"
    );
    assert_eq!(
        polled.len(),
        2,
        "what EvoLink says itself is in the history"
    );
}

#[tokio::test]
async fn a_claim_outlives_the_process() {
    let oracle = Oracle::start(Says::Nothing).await;
    let app = oracle.receiver(Confirm::Always).await;
    let (id, token) = (id_of(Kind::Plain), token(&app, Kind::Plain).await);
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    after_poll(&app, &oracle, &id, 1).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    oracle.now_says(Says::Completed);
    let app = builder.start().await;
    assert_eq!(receiver_member(&app, &id).await["unconfirmed"], "completed");
    app.clock.advance(NEXT_POLL);
    let confirmed = after_poll(&app, &oracle, &id, 2).await;
    assert_eq!(confirmed, [json!("completed"), json!("poll"), Value::Null]);
}

#[tokio::test]
async fn a_claim_about_a_task_that_is_old_is_confirmed_before_anything_is_given_up() {
    let oracle = Oracle::start(Says::Nothing).await;
    let app = oracle.receiver(Confirm::Always).await;
    let (id, token) = (id_of(Kind::Plain), token(&app, Kind::Plain).await);
    app.clock.advance(Duration::from_hours(25));
    app.task_when(&id, |task| task["receiver"]["state"] == "unresolved")
        .await;
    oracle.now_says(Says::Completed);
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    // It was polled once more before it would have been given up.
    app.clock.advance(NEXT_POLL);
    let task = app
        .task_when(&id, |task| task["receiver"]["state"] == "completed")
        .await;
    assert_eq!(task["receiver"]["source"], "poll");
}
