//! The documented answers to callbacks that depend on more than the callback: on what is known of
//! its submit, and on what polls report.

use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::ids::SubmissionId;
use serde_json::json;

use crate::support::app::START as NOW;
use crate::support::app::callback_body::{completed, completed_with};
use crate::support::app::desk::{Answer, Desk, Submit};

#[tokio::test]
async fn a_callback_before_the_answer_of_its_submit_is_recorded_and_the_answer_adds_nothing() {
    let mut desk = Desk::open().await;
    let task = desk.app.submitted("[sim:early-callback]").await;
    let submit = desk.submit_of(&task["receiver"]["submission_id"]);
    assert_eq!(
        desk.simulator.callback_attempts().len(),
        1,
        "before the submit was answered"
    );
    assert_eq!(desk.state(&submit).await.0, "completed");
    assert_eq!(desk.events(&submit).await, ["task.completed"]);
    desk.check("again", &submit, early_body(&desk), Answer::Duplicate)
        .await;
}

fn early_body(desk: &Desk) -> String {
    desk.simulator.tasks()[0].body.to_string()
}

#[tokio::test]
async fn a_callback_after_a_submit_of_unknown_outcome_adopts_the_task_id() {
    let mut desk = Desk::open().await;
    let submit = desk.unbound().await;
    assert_eq!(desk.state(&submit).await.0, "submit_unknown");
    desk.check(
        "adopted",
        &submit,
        completed(&submit.task_id),
        Answer::Recorded,
    )
    .await;
    assert_eq!(desk.events(&submit).await, ["task.completed"]);
    let (status, task) = desk.app.get(&format!("/v1/tasks/{}", submit.task_id)).await;
    assert_eq!(
        (status, &task["receiver"]["submission_id"]),
        (200, &json!(submit.submission_id))
    );
    assert_eq!(desk.simulator.stats().charges, 1);
}

#[tokio::test]
async fn completed_without_a_result_is_an_outcome_once_three_polls_say_the_same() {
    let mut desk = Desk::open().await;
    let task = desk
        .app
        .submitted("[sim:no-results,lost-callback,duration=0ms]")
        .await;
    let submit = desk.submit_of(&task["receiver"]["submission_id"]);
    let empty = completed_with(&submit.task_id, &json!([]));
    desk.app.clock.advance(Duration::from_secs(1));
    assert_eq!(
        desk.app.callback_result(&submit.token, empty.clone()).await,
        "recorded"
    );
    assert_eq!(
        desk.app.callback_result(&submit.token, empty).await,
        "recorded",
        "callbacks are not polls"
    );
    for polls in 1..=3 {
        wait_for_polls(&mut desk, &submit, polls).await;
        let expected = if polls < 3 { "pending" } else { "completed" };
        assert_eq!(desk.state(&submit).await.0, expected, "after {polls} polls");
        desk.app.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(
        desk.events(&submit).await,
        ["task.submitted", "task.completed"]
    );
    assert_eq!(
        desk.app
            .counter("evolink_receiver_outcomes_total{type=\"task.completed\",source=\"poll\"}"),
        1
    );
}

async fn wait_for_polls(desk: &mut Desk, submit: &Submit, wanted: i64) {
    for _ in 0..3000 {
        let sql = "SELECT polls FROM task WHERE submission_id = $1";
        let polls: i64 = desk.database.value(sql, &[submit.bind()]).await;
        if polls >= wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("poll {wanted} never came");
}

#[tokio::test]
async fn a_store_restored_from_before_the_submit_takes_its_callback_in_again() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let forget = "DELETE FROM event; DELETE FROM observation; DELETE FROM task";
    desk.intruder().await.restore(forget).await;
    let first = completed(&submit.task_id);
    assert_eq!(
        desk.app.callback_result(&submit.token, first.clone()).await,
        "recorded"
    );
    assert_eq!(
        desk.app.callback_result(&submit.token, first).await,
        "duplicate"
    );
    assert_eq!(desk.state(&submit).await.0, "completed");
    assert_eq!(desk.events(&submit).await, ["task.completed"]);
    assert_eq!(desk.app.counter("evolink_receiver_restored_total"), 1);
    desk.assert_well("the restored store").await;
}

#[tokio::test]
async fn a_callback_whose_record_is_gone_creates_it_again_and_is_counted() {
    let desk = Desk::open().await;
    let id = SubmissionId::new(NOW);
    let token = desk.app.token(&Subject::Submission(id));
    let first = completed("task-unified-1757165031-restored");
    assert_eq!(
        desk.app.callback_result(&token, first.clone()).await,
        "recorded"
    );
    assert_eq!(desk.app.callback_result(&token, first).await, "duplicate");
    assert_eq!(desk.app.counter("evolink_receiver_restored_total"), 1);
    let (status, task) = desk.app.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(
        (status, &task["receiver"]["state"]),
        (200, &json!("completed"))
    );
}

#[tokio::test]
async fn a_callback_revives_a_submit_that_was_refused_and_is_counted() {
    let mut desk = Desk::open().await;
    let body_of_submit = json!({"model": "z-image-turbo", "prompt": "[sim:no-quota]"});
    let (status, _) = desk.app.submit(&body_of_submit).await;
    assert_eq!(status, 402);
    let sql = "SELECT submission_id FROM task WHERE state = 'rejected'";
    let submission_id: String = desk.database.value(sql, &[]).await;
    let token = desk
        .app
        .token(&Subject::Submission(submission_id.parse().unwrap()));
    let task_id = "task-unified-1757165031-revived0".to_owned();
    let submit = Submit {
        token,
        submission_id,
        task_id,
    };
    desk.check(
        "revived",
        &submit,
        completed(&submit.task_id),
        Answer::Recorded,
    )
    .await;
    assert_eq!(desk.state(&submit).await.0, "completed");
    assert_eq!(desk.events(&submit).await, ["task.completed"]);
    assert_eq!(desk.app.counter("evolink_receiver_restored_total"), 1);
}
