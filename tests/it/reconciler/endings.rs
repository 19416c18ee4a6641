//! When polling ends without an outcome, and what happens after that.

use evolink_receiver::simulator::Options;
use tokio::time::sleep;

use super::{
    BY_POLL, ID, SOME_TICKS, answering, body, builder, event_types, next_poll_after, polls,
    seconds, state, token, until_recorded,
};
use crate::support::net::raw_server::{NOT_FOUND, http};
use crate::support::until::until;

#[tokio::test]
async fn a_task_that_is_unknown_three_times_is_polled_rarely_and_a_later_callback_counts() {
    let invalid = r#"{"error":{"code":"invalid_task_id","message":"m","param":"task_id"}}"#;
    for gone in [
        http(404, &[], NOT_FOUND),
        http(410, &[], NOT_FOUND),
        http(400, &[], invalid),
    ] {
        let (app, evolink) = answering(vec![gone]).await;
        let task = app.submitted("a").await;
        for (number, gap) in [15, 3].into_iter().enumerate() {
            next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
            assert_eq!(state(&app).await, "pending");
        }
        next_poll_after(&app, seconds(6), || polls(&evolink), 3).await;
        assert_eq!(state(&app).await, "unresolved");
        next_poll_after(&app, seconds(3600), || polls(&evolink), 4).await;
        assert_eq!(state(&app).await, "unresolved");
        let history = app.get(&format!("/v1/tasks/{ID}/events")).await.1;
        let unresolved = history["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["type"] == "task.unresolved")
            .unwrap();
        assert_eq!(
            unresolved["task"],
            app.get(&format!("/v1/tasks/{ID}")).await.1
        );
        assert_eq!(
            app.callback_result(&token(&app, &task), body(ID, "completed"))
                .await,
            "recorded"
        );
        assert_eq!(state(&app).await, "completed");
        assert_eq!(
            event_types(&app, ID).await,
            ["task.submitted", "task.unresolved", "task.completed"]
        );
    }
}

#[tokio::test]
async fn e8_only_three_times_running_count() {
    let (gone, seen) = (
        http(404, &[], NOT_FOUND),
        http(200, &[], &body(ID, "processing")),
    );
    let (app, evolink) =
        answering(vec![gone.clone(), gone.clone(), seen, gone.clone(), gone]).await;
    app.submitted("a").await;
    for (number, gap) in [15, 3, 6, 12, 24].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
    }
    assert_eq!(state(&app).await, "processing");
    next_poll_after(&app, seconds(48), || polls(&evolink), 6).await;
    assert_eq!(state(&app).await, "unresolved");
}

#[tokio::test]
async fn i17_a_task_that_never_ends_is_given_up_and_a_later_outcome_counts() {
    let give_up = |config: &mut evolink_receiver::config::Config| {
        config.reconcile.give_up_after = seconds(3600);
    };
    let (app, evolink) = builder()
        .with(give_up)
        .start_with_simulator(Options::default())
        .await;
    let task = app.submitted("[sim:never-ends]").await;
    let id = task["id"].as_str().unwrap();
    app.clock.advance(seconds(3600));
    app.task_when(id, |task| task["receiver"]["state"] == "unresolved")
        .await;
    assert_eq!(evolink.queries().len(), 1, "EvoLink has the last word");
    assert_eq!(app.counter(BY_POLL), 0);
    assert_eq!(
        app.callback_result(&token(&app, &task), body(id, "completed"))
            .await,
        "recorded"
    );
    assert_eq!(
        app.get(&format!("/v1/tasks/{id}")).await.1["receiver"]["state"],
        "completed"
    );
    let types = event_types(&app, id).await;
    assert_eq!(
        types
            .iter()
            .filter(|kind| *kind == "task.completed")
            .count(),
        1,
        "{types:?}"
    );
}

#[tokio::test]
async fn what_ended_while_we_were_away_for_longer_than_a_day_is_found() {
    let (app, evolink) = builder().start_with_simulator(Options::default()).await;
    let task = app.submitted("[sim:lost-callback,duration=100ms]").await;
    until("the end of the task", || {
        evolink.tasks()[0].body["status"] == "completed"
    })
    .await;
    let (_, builder) = app.stop().await;
    let app = builder.start().await;
    app.clock.advance(seconds(25 * 3600));
    let id = task["id"].as_str().unwrap();
    app.task_when(id, |task| task["status"] == "completed")
        .await;
    assert_eq!(
        event_types(&app, id).await,
        ["task.submitted", "task.completed"]
    );
}

#[tokio::test]
async fn something_suspicious_has_an_unresolved_task_asked_about_once_more_and_not_for_ever() {
    let (app, evolink) = answering(vec![http(200, &[], &body(ID, "processing"))]).await;
    let task = app.submitted("a").await;
    let token = token(&app, &task);
    app.clock.advance(seconds(24 * 3600));
    app.task_when(ID, |task| task["receiver"]["state"] == "unresolved")
        .await;
    assert_eq!(polls(&evolink), 1);
    for number in 2..4 {
        app.clock.advance(seconds(60));
        assert_eq!(app.callback(&token, "no task body").await.0, 400);
        until_recorded(&app, "SELECT polls FROM task", number).await;
        app.clock.advance(seconds(3600));
        sleep(SOME_TICKS).await;
        assert_eq!(polls(&evolink), number);
        let database = app.database().await;
        let due = "SELECT count(*) FROM task WHERE next_poll_at IS NOT NULL";
        assert_eq!(database.value::<i64>(due, &[]).await, 0);
    }
}

#[tokio::test]
async fn b6_an_empty_completion_of_an_unresolved_task_is_believed_the_third_time() {
    let (processing, empty) = (
        http(200, &[], &body(ID, "processing")),
        http(
            200,
            &[],
            &format!(r#"{{"id":"{ID}","status":"completed"}}"#),
        ),
    );
    let (app, evolink) = answering(vec![processing, empty]).await;
    let task = app.submitted("a").await;
    app.clock.advance(seconds(24 * 3600));
    app.task_when(ID, |task| task["receiver"]["state"] == "unresolved")
        .await;
    app.clock.advance(seconds(60));
    let empty = format!(r#"{{"id":"{ID}","status":"completed"}}"#);
    let token = token(&app, &task);
    assert_eq!(app.callback_result(&token, empty).await, "recorded");
    for number in 2..=4 {
        until_recorded(&app, "SELECT polls FROM task", number).await;
        sleep(SOME_TICKS).await;
        assert_eq!(polls(&evolink), number);
        app.clock.advance(seconds(60));
    }
    assert_eq!(state(&app).await, "completed");
}

#[tokio::test]
async fn a_callback_that_says_that_it_goes_on_has_an_unresolved_task_asked_about_once() {
    let processing = http(200, &[], &body(ID, "processing"));
    let completed = http(200, &[], &body(ID, "completed"));
    let (app, evolink) = answering(vec![processing.clone(), processing, completed]).await;
    let task = app.submitted("a").await;
    let token = token(&app, &task);
    app.clock.advance(seconds(24 * 3600));
    app.task_when(ID, |task| task["receiver"]["state"] == "unresolved")
        .await;
    assert_eq!(polls(&evolink), 1);
    for (number, goes_on) in [(2, "processing"), (3, "pending")] {
        app.clock.advance(seconds(60));
        assert_eq!(
            app.callback_result(&token, body(ID, goes_on)).await,
            "unchanged"
        );
        until_recorded(&app, "SELECT polls FROM task", number).await;
        // Another callback arrives at once, but the poll is not sooner than `interval_min`.
        if number == 2 {
            assert_eq!(state(&app).await, "unresolved");
            let answer = app.callback_result(&token, body(ID, goes_on)).await;
            assert_eq!(answer, "unchanged");
            sleep(SOME_TICKS).await;
        }
        assert_eq!(polls(&evolink), number);
        let database = app.database().await;
        let due = "SELECT count(*) FROM task WHERE next_poll_at < polled_at + 3000";
        assert_eq!(database.value::<i64>(due, &[]).await, 0);
    }
    assert_eq!(state(&app).await, "completed");
}
