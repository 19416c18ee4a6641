//! A replay is trusted as much as the original (`callbacks.confirm`): a callback does not become
//! more trustworthy by having been kept.

use evolink_receiver::domain::task::confirmation::Confirm;
use serde_json::{Value, json};

use crate::support::app::callback_body::{body, completed, completed_with};
use crate::support::app::desk::{Answer, Desk, Submit};
use crate::support::app::quarantine::{put, put_from, replay};

const OTHER_HOST: &str = "https://files.evolink.ai.evil.example/a";

async fn desk() -> Desk {
    Desk::open_with(|config| config.callbacks.confirm = Confirm::Suspicious).await
}

fn doubted(desk: &Desk, reason: &str) -> u64 {
    let series = format!("evolink_receiver_outcomes_doubted_total{{reason=\"{reason}\"}}");
    desk.app.counter(&series)
}

async fn unconfirmed(desk: &Desk, submit: &Submit) -> Value {
    let path = format!("/v1/tasks/{}", submit.submission_id);
    desk.app.get(&path).await.1["receiver"]["unconfirmed"].clone()
}

async fn is_asked_about(desk: &Desk, submit: &Submit) -> bool {
    let sql = "SELECT count(*) FROM task WHERE submission_id = $1 AND next_poll_at IS NOT NULL";
    desk.database.value::<i64>(sql, &[submit.bind()]).await == 1
}

#[tokio::test]
async fn a_callback_that_is_replayed_is_doubted_like_the_callback_that_it_was() {
    let mut desk = desk().await;
    let elsewhere = |task_id: &str| completed_with(task_id, &json!([OTHER_HOST]));
    let (known, unknown) = (desk.bound().await, desk.unbound().await);
    for (submit, said, reason) in [
        (&known, elsewhere(&known.task_id), "unlisted_host"),
        (&unknown, completed(&unknown.task_id), "late_id"),
    ] {
        let id = put(&desk.database, &submit.submission_id, &said).await;
        let (status, answer) = replay(&desk.app, id).await;
        assert_eq!((status, &answer["result"]), (200, &json!("recorded")));
        assert_eq!(desk.state(submit).await.0, "pending", "{reason}");
        assert_eq!(unconfirmed(&desk, submit).await, "completed");
        assert!(desk.is_due(submit).await, "EvoLink is asked");
        assert_eq!(doubted(&desk, reason), 1);
        // One poll is enough, however often the entry is replayed.
        assert_eq!(replay(&desk.app, id).await.1["result"], "duplicate");
        assert_eq!(doubted(&desk, reason), 1);
    }
}

#[tokio::test]
async fn an_answer_of_evolink_that_is_replayed_is_its_own_word() {
    let mut desk = desk().await;
    for source in ["poll", "submit"] {
        let submit = desk.unbound().await;
        let said = completed_with(&submit.task_id, &json!([OTHER_HOST]));
        let id = put_from(source, &desk.database, &submit.submission_id, &said).await;
        assert_eq!(replay(&desk.app, id).await.1["result"], "recorded");
        assert_eq!(desk.state(&submit).await.0, "completed", "{source}");
        assert_eq!(unconfirmed(&desk, &submit).await, Value::Null);
        let sql = "SELECT count(*) FROM task WHERE submission_id = $1 AND vouched_at IS NOT NULL";
        let vouched: i64 = desk.database.value(sql, &[submit.bind()]).await;
        assert_eq!(vouched, 1, "EvoLink has named the id");
    }
    for reason in ["late_id", "unlisted_host"] {
        assert_eq!(doubted(&desk, reason), 0);
    }
}

#[tokio::test]
async fn a_replayed_callback_that_contradicts_the_outcome_has_evolink_asked_once() {
    let mut desk = desk().await;
    for (source, asked) in [("callback", true), ("poll", false)] {
        let submit = desk.bound().await;
        let listed = completed_with(&submit.task_id, &json!(["https://files.evolink.ai/a.webp"]));
        desk.check("first", &submit, listed, Answer::Recorded).await;
        let before = doubted(&desk, "conflict");
        let failed = body(&submit.task_id, "failed", &json!({}));
        let id = put_from(source, &desk.database, &submit.submission_id, &failed).await;
        assert_eq!(replay(&desk.app, id).await.1["result"], "conflict");
        assert_eq!(is_asked_about(&desk, &submit).await, asked, "{source}");
        let asked = before + u64::from(asked);
        assert_eq!(doubted(&desk, "conflict"), asked, "{source}");
        assert_eq!(replay(&desk.app, id).await.1["result"], "conflict");
        assert_eq!(doubted(&desk, "conflict"), asked, "{source}");
        assert_eq!(desk.state(&submit).await.0, "completed");
    }
}
