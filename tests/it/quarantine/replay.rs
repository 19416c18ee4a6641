//! After a fix, a body that an older version could not read is recorded once and published like any
//! other.

use serde_json::json;

use super::{put_completed, without_observations};
use crate::support::app::callback_body::{body, completed};
use crate::support::app::desk::{Answer, Desk};
use crate::support::app::quarantine::{put, replay, totals};
use crate::support::store::database::Bind;

#[tokio::test]
async fn what_an_older_version_could_not_read_is_recorded_after_the_fix_and_told_like_any_outcome()
{
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let id = put_completed(&desk, &submit).await;
    let (status, answer) = replay(&desk.app, id).await;
    assert_eq!(
        (status, &answer["result"]),
        (200, &json!("recorded")),
        "{answer}"
    );
    let entry = &answer["entry"];
    assert_eq!(
        (&entry["id"], &entry["replay_result"]),
        (&json!(id), &json!("recorded"))
    );
    assert_eq!(entry["task_id"], submit.task_id, "it is known now");
    let (_, task) = desk.app.get(&format!("/v1/tasks/{}", submit.task_id)).await;
    assert_eq!(
        (&task["status"], &task["receiver"]["source"]),
        (&json!("completed"), &json!("replay"))
    );
    assert_eq!(
        desk.events(&submit).await,
        ["task.submitted", "task.completed"]
    );
    let outcomes = "evolink_receiver_outcomes_total{type=\"task.completed\",source=\"replay\"}";
    assert_eq!(desk.app.counter(outcomes), 1);
    desk.check(
        "the callback after all",
        &submit,
        completed(&submit.task_id),
        Answer::Duplicate,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_it_is_asked_for_at_once_an_entry_is_recorded_once() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let id = put_completed(&desk, &submit).await;
    let before = desk.rows().await;
    let asked = (0..64).map(|_| replay(&desk.app, id));
    let answers = futures_util::future::join_all(asked).await;
    let count = |result: &str| {
        let answers = answers.iter();
        answers
            .filter(|(status, answer)| (*status, answer["result"].as_str()) == (200, Some(result)))
            .count()
    };
    assert_eq!((count("recorded"), count("duplicate")), (1, 63));
    assert_eq!(
        replay(&desk.app, id).await.1["entry"]["replay_result"],
        "recorded"
    );
    let after = desk.rows().await;
    assert_eq!(after.observations, before.observations + 1);
    assert_eq!(
        desk.events(&submit).await,
        ["task.submitted", "task.completed"]
    );
}

#[tokio::test]
async fn a_submit_of_unknown_outcome_is_resolved_by_a_replay() {
    let mut desk = Desk::open().await;
    let submit = desk.unbound().await;
    let id = put_completed(&desk, &submit).await;
    assert_eq!(replay(&desk.app, id).await.1["result"], "recorded");
    assert_eq!(desk.state(&submit).await.0, "completed");
    let path = format!("/v1/tasks/{}/events", submit.task_id);
    let (_, history) = desk.app.get(&path).await;
    let items = history["data"].as_array().unwrap();
    let observation = items
        .iter()
        .find(|item| item["type"] == "observation")
        .unwrap();
    assert_eq!(
        [
            &observation["source"],
            &observation["bound"],
            &observation["quarantine_id"]
        ],
        [&json!("replay"), &json!("adopted"), &json!(id)]
    );
}

#[tokio::test]
async fn a_replay_that_contradicts_the_outcome_is_a_conflict_and_told_once() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    desk.check(
        "first",
        &submit,
        completed(&submit.task_id),
        Answer::Recorded,
    )
    .await;
    let failed = body(&submit.task_id, "failed", &json!({}));
    let id = put(&desk.database, &submit.submission_id, &failed).await;
    let kept = totals(&desk.database).await;
    for _ in 0..3 {
        let (status, answer) = replay(&desk.app, id).await;
        assert_eq!((status, &answer["result"]), (200, &json!("conflict")));
        assert_eq!(answer["entry"]["repeats"], 0, "it did not come again");
    }
    assert_eq!(totals(&desk.database).await, kept);
    let events = desk.events(&submit).await;
    assert_eq!(
        events,
        ["task.submitted", "task.completed", "task.conflict"]
    );
    assert_eq!(desk.state(&submit).await.0, "completed");
    // The event of an entry that was a conflict on arrival has been published already.
    let cancelled = body(&submit.task_id, "cancelled", &json!({}));
    desk.check("a second one", &submit, cancelled, Answer::Conflict)
        .await;
    let second = "SELECT max(id) FROM quarantine WHERE kind = 'conflict'";
    let second: i64 = desk.database.value(second, &[]).await;
    let before = desk.events(&submit).await;
    assert_eq!(replay(&desk.app, second).await.1["result"], "conflict");
    assert_eq!(desk.events(&submit).await, before);
}

#[tokio::test]
async fn a_mismatch_stays_one_and_nothing_else_changes() {
    let mut desk = Desk::open().await;
    let (own, other) = (desk.bound().await, desk.bound().await);
    desk.check("mismatch", &own, completed(&other.task_id), Answer::Q409)
        .await;
    let id: i64 = desk
        .database
        .value("SELECT max(id) FROM quarantine", &[])
        .await;
    let before = desk.rows().await;
    let (status, answer) = replay(&desk.app, id).await;
    assert_eq!(
        (status, &answer["result"]),
        (200, &json!("mismatch")),
        "{answer}"
    );
    assert_eq!(desk.rows().await, before);
    assert_eq!(desk.state(&other).await.0, "pending");
}

#[tokio::test]
async fn a_body_that_still_cannot_be_read_is_refused_with_the_reason_and_nothing_is_written() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    desk.check("bad", &submit, r#"{"id": "task-1"}"#, Answer::Q400)
        .await;
    let id: i64 = desk
        .database
        .value("SELECT max(id) FROM quarantine", &[])
        .await;
    let before = desk.rows().await;
    let (status, answer) = replay(&desk.app, id).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (422, &json!("still_unreadable"))
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("no usable `status`"), "{message}");
    // Compare rows and not the version of the database, because polls of the task write too.
    assert_eq!(desk.rows().await, before);
    let mark = "SELECT replay_result FROM quarantine WHERE id = $1";
    let mark: Option<String> = desk.database.value(mark, &[Bind::Int(id)]).await;
    assert_eq!(mark, None);
    let replays = "evolink_receiver_quarantine_replays_total{result=\"unreadable\"}";
    assert_eq!(desk.app.counter(replays), 1);
}

#[tokio::test]
async fn the_mark_and_what_it_tells_of_are_written_together_or_not_at_all() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let id = put_completed(&desk, &submit).await;
    let before = desk.rows().await;
    let intruder = desk.intruder().await;
    let refuse = intruder.either(
        "CREATE TRIGGER refuse BEFORE UPDATE OF replayed_at ON quarantine BEGIN SELECT RAISE(ABORT, 'refused'); END",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE OF replayed_at ON quarantine FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    intruder.execute(refuse).await;
    let (status, answer) = replay(&desk.app, id).await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(desk.rows().await, before);
    assert_eq!(desk.state(&submit).await.0, "pending");
    intruder.stop_refusing().await;
    assert_eq!(replay(&desk.app, id).await.1["result"], "recorded");
    let after = desk.rows().await;
    assert_eq!(after.observations, before.observations + 1);
    assert_eq!(after.events, before.events + 1);
    assert_eq!(without_observations(after).quarantine, before.quarantine);
    let sql = "SELECT replay_result FROM quarantine WHERE id = $1";
    let mark: Option<String> = desk.database.value(sql, &[Bind::Int(id)]).await;
    assert_eq!(mark.as_deref(), Some("recorded"));
}
