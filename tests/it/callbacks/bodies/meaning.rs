//! The meaning of well-formed bodies (rows S1, S2, …).

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::app::callback_body::{body, completed, completed_with};
use crate::support::app::desk::Answer::{Conflict, Duplicate, Q400, Q409, Recorded, Unchanged};
use crate::support::app::desk::{Desk, Submit};

#[rustfmt::skip] // One row per line, so that it reads as a table.
fn first_words() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let documented = json!({"error": {"code": "content_policy_violation", "message": "Content policy violation.\nPlease…", "type": "task_error"}});
    let message = format!("{}\u{1b}[31m<script>alert(1)</script>\u{202e}%n${{jndi:ldap://x}}", "m".repeat(200_000));
    vec![
        ("S1", "completed", json!({"results": ["https://files.evolink.ai/a.webp"], "progress": 100}), "completed"),
        ("S2", "failed", documented, "failed"),
        ("S3 no error", "failed", json!({}), "failed"),
        ("S3 null", "failed", json!({"error": null}), "failed"),
        ("S3 text", "failed", json!({"error": "text"}), "failed"),
        ("S3 code 500", "failed", json!({"error": {"code": 500, "message": "x"}}), "failed"),
        ("S3 a list", "failed", json!({"error": ["x"]}), "failed"),
        ("S4 cancelled", "cancelled", json!({}), "cancelled"),
        ("S4 canceled", "canceled", json!({}), "cancelled"),
        ("S4 request_cancelled", "failed", json!({"error": {"code": "request_cancelled"}}), "failed"),
        ("S5 running", "running", json!({}), "processing"),
        ("S5 succeeded", "succeeded", json!({"results": ["a"]}), "completed"),
        ("S5 success", "success", json!({"results": ["a"]}), "completed"),
        ("S5 error", "error", json!({}), "failed"),
        ("S5 paused", "paused", json!({}), "pending"),
        ("S5 Completed", "Completed", json!({"results": ["a"]}), "pending"),
        ("S5 with a space", "completed ", json!({"results": ["a"]}), "pending"),
        ("S13 a string", "completed", json!({"results": "https://files.evolink.ai/a.webp"}), "completed"),
        ("S13 an object", "completed", json!({"results": [{"url": "https://files.evolink.ai/a.webp"}]}), "completed"),
        ("S13 missing", "completed", json!({}), "pending"),
        ("S13 null", "completed", json!({"results": null}), "pending"),
        ("S13 []", "completed", json!({"results": []}), "pending"),
        ("S13 [\"\"]", "completed", json!({"results": [""]}), "pending"),
        ("S13 [null]", "completed", json!({"results": [null]}), "pending"),
        ("S13 {}", "completed", json!({"results": {"url": "https://files.evolink.ai/a.webp"}}), "pending"),
        ("S14", "failed", json!({"error": {"code": "x", "message": message}}), "failed"),
        ("S15", "processing", json!({"result_data": [{"a": 1}], "billing": {"refund_status": "x"}, "request_id": "r", "usage": {"x": 0.25}}), "processing"),
        ("S15 object", "processing", json!({"result_data": {"a": [1]}}), "processing"),
    ]
}

#[tokio::test]
async fn every_first_word_of_table_s_is_recorded_and_leads_to_its_state() {
    let mut desk = Desk::open().await;
    for (name, status, more, state) in first_words() {
        let submit = desk.bound().await;
        let sent = body(&submit.task_id, status, &more);
        desk.check(name, &submit, &sent, Recorded).await;
        assert_eq!(desk.state(&submit).await.0, state, "{name}");
        let is_doubtful = state == "pending";
        assert_eq!(desk.is_due(&submit).await, is_doubtful, "{name}: polled");
        let mut expected = vec!["task.submitted".to_owned()];
        expected.extend((!is_doubtful).then(|| format!("task.{state}")));
        assert_eq!(desk.events(&submit).await, expected, "{name}");
        if name.starts_with("S15") {
            let (_, task) = desk.app.get(&format!("/v1/tasks/{}", submit.task_id)).await;
            for (key, value) in more.as_object().unwrap() {
                assert_eq!(&task[key], value, "{name}: as it came");
            }
        }
    }
}

#[tokio::test]
async fn s5_s9_without_a_usable_id_or_status_it_is_kept_in_quarantine() {
    let mut desk = Desk::open().await;
    let long = "i".repeat(10_000);
    for status in [
        None,
        Some(json!(null)),
        Some(json!(7)),
        Some(json!("")),
        Some(json!("s".repeat(65))),
        Some(json!("a\tb")),
    ] {
        let submit = desk.bound().await;
        let mut sent = json!({"id": submit.task_id, "status": status, "results": ["a"]});
        if status.is_none() {
            sent.as_object_mut().unwrap().remove("status");
        }
        desk.check("S5", &submit, sent.to_string(), Q400).await;
    }
    for id in [
        None,
        Some(json!(null)),
        Some(json!(7)),
        Some(json!("")),
        Some(json!(long)),
        Some(json!("a/b")),
    ] {
        let submit = desk.bound().await;
        let mut sent = json!({"id": id, "status": "completed", "results": ["a"]});
        if id.is_none() {
            sent.as_object_mut().unwrap().remove("id");
        }
        desk.check("S9", &submit, sent.to_string(), Q400).await;
    }
}

#[tokio::test]
async fn s5_queued_is_pending_and_adds_nothing_to_it() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let queued = body(&submit.task_id, "queued", &json!({}));
    desk.check("S5 queued", &submit, queued, Unchanged).await;
}

#[tokio::test]
async fn s9_the_id_of_another_task_is_a_mismatch_and_touches_neither() {
    let mut desk = Desk::open().await;
    let (own, other) = (desk.bound().await, desk.bound().await);
    desk.check("S9 another's", &own, completed(&other.task_id), Q409)
        .await;
    desk.check(
        "S9 unknown",
        &own,
        completed("task-unified-1757165031-nobody00"),
        Q409,
    )
    .await;
    assert_eq!(desk.state(&own).await.0, "pending");
    assert_eq!(desk.state(&other).await.0, "pending");
    assert!(
        !desk.is_due(&other).await,
        "nothing was said about the other by its own URL"
    );
}

#[tokio::test]
async fn s12_a_bound_id_is_taken_neither_by_an_unbound_token_nor_by_a_standing_one() {
    let mut desk = Desk::open().await;
    let (bound, unbound) = (desk.bound().await, desk.unbound().await);
    desk.check("S12 unbound", &unbound, completed(&bound.task_id), Q409)
        .await;
    let standing = Submit {
        token: desk.app.standing_token("shop"),
        ..bound.clone()
    };
    desk.check("S12 standing", &standing, completed(&bound.task_id), Q409)
        .await;
    assert_eq!(desk.state(&unbound).await.0, "submit_unknown");
    assert_eq!(desk.state(&bound).await.0, "pending");
    desk.check(
        "then its own",
        &unbound,
        completed(&unbound.task_id),
        Recorded,
    )
    .await;
}

#[tokio::test]
async fn s12_a_standing_token_takes_in_any_free_id_for_its_client() {
    let app = TestApp::start().await;
    let token = app.standing_token("shop");
    for id in [
        "task-unified-1757165031-standin1",
        "task-unified-1757165031-standin2",
    ] {
        assert_eq!(app.callback_result(&token, completed(id)).await, "recorded");
        assert_eq!(
            app.callback_result(&token, completed(id)).await,
            "duplicate"
        );
        let (_, task) = app.get(&format!("/v1/tasks/{id}")).await;
        assert_eq!(
            (&task["receiver"]["client"], &task["status"]),
            (&json!("shop"), &json!("completed"))
        );
    }
    // Another standing URL may report on the task, but its report does not undo the first.
    let other = app.standing_token("other");
    let failed = body("task-unified-1757165031-standin1", "failed", &json!({}));
    assert_eq!(app.callback_result(&other, failed).await, "conflict");
}

#[tokio::test]
async fn s7_the_first_outcome_stays_whatever_the_second_is() {
    let mut desk = Desk::open().await;
    let outcomes = |id: &str| {
        [
            completed(id),
            completed_with(id, &json!(["https://files.evolink.ai/b.webp"])),
            body(id, "failed", &json!({})),
            body(id, "cancelled", &json!({})),
        ]
    };
    for first in 0..4 {
        let submit = desk.bound().await;
        let outcomes = outcomes(&submit.task_id);
        desk.check("S7 first", &submit, &outcomes[first], Recorded)
            .await;
        let state = desk.state(&submit).await;
        for (second, outcome) in outcomes.iter().enumerate() {
            let expected = if first == second { Duplicate } else { Conflict };
            desk.check("S7 second", &submit, outcome, expected).await;
            assert_eq!(desk.state(&submit).await, state);
        }
        let (_, task) = desk.app.get(&format!("/v1/tasks/{}", submit.task_id)).await;
        let told: Value = serde_json::from_str(&outcomes[first]).unwrap();
        assert_eq!(
            (&task["status"], &task["results"]),
            (&told["status"], &told["results"])
        );
    }
}

#[tokio::test]
async fn b7_the_same_outcome_in_other_words_is_a_duplicate() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let id = submit.task_id.clone();
    let two = json!([
        "https://files.evolink.ai/a.webp?s=1",
        "https://files.evolink.ai/b.webp"
    ]);
    desk.check("first", &submit, completed_with(&id, &two), Recorded)
        .await;
    for results in [
        json!([
            "https://files.evolink.ai/a.webp?s=2",
            "https://files.evolink.ai/b.webp"
        ]),
        json!([{"url": "https://files.evolink.ai/a.webp"}, {"url": "https://files.evolink.ai/b.webp"}]),
        json!([]),
        json!(null),
    ] {
        desk.check("B7", &submit, completed_with(&id, &results), Duplicate)
            .await;
    }
    let spaced = serde_json::to_string_pretty(
        &json!({"results": two, "x": 1, "status": "success", "task_id": id}),
    );
    desk.check("B7 other keys", &submit, spaced.unwrap(), Duplicate)
        .await;
    let fewer = json!(["https://files.evolink.ai/a.webp"]);
    desk.check("B7 fewer", &submit, completed_with(&id, &fewer), Conflict)
        .await;
    let failed = desk.bound().await;
    let why = |text: &str| {
        body(
            &failed.task_id,
            "failed",
            &json!({"error": {"code": text, "message": text}}),
        )
    };
    desk.check("failed", &failed, why("a"), Recorded).await;
    desk.check("failed, other text", &failed, why("b"), Duplicate)
        .await;
}

#[tokio::test]
async fn s16_a_late_observation_changes_nothing_and_causes_no_event() {
    let mut desk = Desk::open().await;
    for (outcome, late) in [
        ("completed", "processing"),
        ("failed", "pending"),
        ("cancelled", "paused"),
        ("failed", "queued"),
    ] {
        let submit = desk.bound().await;
        let results = json!({"results": ["https://files.evolink.ai/a.webp"]});
        desk.check(
            outcome,
            &submit,
            body(&submit.task_id, outcome, &results),
            Recorded,
        )
        .await;
        let late = body(&submit.task_id, late, &json!({"progress": 99}));
        desk.check("S16", &submit, late, Unchanged).await;
        assert_eq!(desk.state(&submit).await.0, outcome);
        assert!(!desk.is_due(&submit).await);
    }
}
