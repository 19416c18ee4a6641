//! The holder of one callback URL cannot fill the disk (rule B8).

use serde_json::json;

use crate::support::app::callback_body::{body, completed};
use crate::support::app::desk::{Answer, Desk};

#[tokio::test]
async fn of_a_hundred_bad_bodies_under_one_token_twenty_are_kept_and_repeats_are_counted() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let other = desk.bound().await;
    for round in 0..2 {
        for n in 0..100 {
            let (status, answer) = desk.app.callback(&submit.token, format!("bad {n}")).await;
            assert_eq!(
                status, 400,
                "the same answer, kept or not: {round} {n} {answer}"
            );
        }
    }
    let sql = "SELECT count(*), CAST(sum(repeats) AS BIGINT) FROM quarantine";
    let kept: (i64, i64) = desk.database.row(sql, &[]).await;
    assert_eq!(kept, (20, 20));
    let mismatch = completed("task-unified-1757165031-somebody");
    let (status, _) = desk.app.callback(&submit.token, mismatch).await;
    assert_eq!(status, 409, "of all kinds of bodies together");
    assert_eq!(desk.rows().await.quarantine, 20);
    desk.check("another token's", &other, "bad", Answer::Q400)
        .await;
    desk.check(
        "the good one",
        &submit,
        completed(&submit.task_id),
        Answer::Recorded,
    )
    .await;
}

#[tokio::test]
async fn of_many_conflicts_under_one_token_twenty_are_kept_and_told() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    desk.check(
        "first",
        &submit,
        completed(&submit.task_id),
        Answer::Recorded,
    )
    .await;
    for n in 0..50 {
        let failed = body(&submit.task_id, "failed", &json!({"n": n}));
        assert_eq!(
            desk.app.callback_result(&submit.token, failed).await,
            "conflict"
        );
    }
    assert_eq!(desk.rows().await.quarantine, 20);
    let events = desk.events(&submit).await;
    assert_eq!(
        events
            .iter()
            .filter(|name| *name == "task.conflict")
            .count(),
        20
    );
    assert_eq!(desk.state(&submit).await.0, "completed");
}

#[tokio::test]
async fn of_a_thousand_observations_of_one_task_two_hundred_and_its_transitions_are_kept() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let before = desk.rows().await;
    let at = |status: &str, progress: usize| {
        body(&submit.task_id, status, &json!({"progress": progress}))
    };
    let mut answers = Vec::new();
    // Alternate between two states, and make progress now and then.
    for n in 0..1000 {
        let (status, progress) = if n % 2 == 0 {
            ("processing", n / 20)
        } else {
            ("pending", 0)
        };
        answers.push(
            desk.app
                .callback_result(&submit.token, at(status, progress))
                .await,
        );
    }
    let recorded = answers
        .iter()
        .filter(|answer| *answer == "recorded")
        .count();
    assert_eq!(recorded, 50, "progress 0 to 49, each once");
    assert!(
        answers
            .iter()
            .all(|answer| answer == "recorded" || answer == "unchanged")
    );
    assert_eq!(answers[999], "unchanged", "answered as ever");
    for _ in 0..300 {
        assert_eq!(
            desk.app
                .callback_result(&submit.token, at("paused", 0))
                .await,
            "recorded"
        );
    }
    let kept = desk.rows().await.observations - before.observations;
    assert!((200..=200 + 51).contains(&kept), "{kept} kept");
    assert_eq!(
        desk.app
            .callback_result(&submit.token, completed(&submit.task_id))
            .await,
        "recorded"
    );
    assert_eq!(
        desk.rows().await.observations - before.observations,
        kept + 1,
        "a transition is always kept"
    );
    for _ in 0..50 {
        assert_eq!(
            desk.app
                .callback_result(&submit.token, completed(&submit.task_id))
                .await,
            "duplicate"
        );
    }
    assert_eq!(
        desk.rows().await.observations - before.observations,
        kept + 1
    );
    let (_, task) = desk.app.get(&format!("/v1/tasks/{}", submit.task_id)).await;
    assert_eq!(
        (&task["status"], &task["progress"]),
        (&json!("completed"), &json!(100))
    );
    desk.assert_well("B8").await;
}
