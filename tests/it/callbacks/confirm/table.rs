//! Each mode of `callbacks.confirm`, with each kind of callback and each answer of EvoLink.

use evolink_receiver::domain::task::confirmation::Confirm;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    KINDS, Kind, NEXT_POLL, Oracle, SAYINGS, SOME_TICKS, Says, after_poll, callback, doubted,
    id_of, reason, receiver_member, token,
};
use crate::support::app::TestApp;

/// One row of the table: sends the callback and checks whether its outcome is unconfirmed.
async fn tell(app: &TestApp, kind: Kind, confirm: Confirm) {
    let row = format!("{} {kind:?}", confirm.as_str());
    let (id, token) = (id_of(kind), token(app, kind).await);
    let reason = reason(kind, confirm);
    let before = reason.map(|reason| doubted(app, reason));
    let result = app.callback_result(&token, callback(kind)).await;
    assert_eq!(result, "recorded", "{row}");
    let after = reason.map(|reason| doubted(app, reason));
    assert_eq!(after, before.map(|before| before + 1), "{row}");
    if reason.is_none() {
        let receiver = receiver_member(app, &id).await;
        let state_and_source = (&receiver["state"], &receiver["source"]);
        assert_eq!(
            state_and_source,
            (&json!("completed"), &json!("callback")),
            "{row}"
        );
        assert!(receiver.get("unconfirmed").is_none(), "{row}");
    }
}

/// Checks the effect of EvoLink's first answer.
async fn check_answer(app: &TestApp, oracle: &Oracle, kind: Kind, says: Says) {
    let first = after_poll(app, oracle, &id_of(kind), 1).await;
    let expected = match says {
        Says::Completed => [json!("completed"), json!("poll"), Value::Null],
        Says::Failed => [json!("failed"), json!("poll"), Value::Null],
        Says::Processing => [json!("processing"), json!("poll"), json!("completed")],
        Says::Gone | Says::Nothing => [json!("pending"), first[1].clone(), json!("completed")],
    };
    assert_eq!(first, expected, "{kind:?} {says:?}");
}

/// With this many failed or unknown tasks, EvoLink does not yet count as failing as a whole.
const FEW: usize = 4;

async fn check_all(confirm: Confirm, says: Says) {
    let at_once = match says {
        Says::Nothing | Says::Gone => FEW,
        Says::Completed | Says::Failed | Says::Processing => KINDS.len(),
    };
    for kinds in KINDS.chunks(at_once) {
        check(kinds, confirm, says).await;
    }
}

async fn check(kinds: &[Kind], confirm: Confirm, says: Says) {
    let oracle = Oracle::start(says).await;
    let app = oracle.receiver(confirm).await;
    for kind in kinds {
        tell(&app, *kind, confirm).await;
    }
    let is_doubted = |kind: &Kind| reason(*kind, confirm).is_some();
    let doubted: Vec<Kind> = kinds.iter().copied().filter(is_doubted).collect();
    for kind in &doubted {
        check_answer(&app, &oracle, *kind, says).await;
    }
    // An outcome that needed no confirmation causes no poll, and a task that EvoLink has ended is
    // not polled again.
    sleep(SOME_TICKS).await;
    for kind in kinds {
        let asked = usize::from(doubted.contains(kind));
        assert_eq!(
            oracle.polls(&id_of(*kind)),
            asked,
            "{confirm:?} {kind:?} {says:?}"
        );
    }
    check_end(&app, &oracle, &doubted, says).await;
    app.assert_counters_balance();
}

/// A forged callback has no effect, and EvoLink's final answer counts.
async fn check_end(app: &TestApp, oracle: &Oracle, doubted: &[Kind], says: Says) {
    match says {
        Says::Completed | Says::Failed => {}
        Says::Processing | Says::Nothing => {
            oracle.now_says(Says::Failed);
            app.clock.advance(NEXT_POLL);
            for kind in doubted {
                let ended = after_poll(app, oracle, &id_of(*kind), 2).await;
                assert_eq!(
                    ended,
                    [json!("failed"), json!("poll"), Value::Null],
                    "{kind:?}"
                );
            }
        }
        Says::Gone => {
            for number in [2, 3] {
                app.clock.advance(NEXT_POLL * 2);
                for kind in doubted {
                    after_poll(app, oracle, &id_of(*kind), number).await;
                }
            }
            for kind in doubted {
                let receiver = receiver_member(app, &id_of(*kind)).await;
                assert_eq!(receiver["state"], "unresolved", "{kind:?}");
                assert_claim_is_in_history(app, &id_of(*kind)).await;
            }
        }
    }
}

async fn assert_claim_is_in_history(app: &TestApp, id: &str) {
    let history = app.get(&format!("/v1/tasks/{id}/events")).await.1;
    let items = history["data"].as_array().unwrap();
    let claims = items.iter().filter(|item| {
        item["type"] == "observation"
            && item["source"] == "callback"
            && item["result"] == "recorded"
    });
    assert_eq!(claims.count(), 1, "{history}");
    let announced = items
        .iter()
        .any(|item| item["task"]["status"] == "completed");
    assert!(
        !announced,
        "an event shows what EvoLink never said: {history}"
    );
}

#[tokio::test]
async fn never_believes_every_callback() {
    check_all(Confirm::Never, Says::Failed).await;
}

#[tokio::test]
async fn what_evolink_says_about_a_suspicious_outcome_counts() {
    for says in SAYINGS {
        check_all(Confirm::Suspicious, says).await;
    }
}

#[tokio::test]
async fn what_evolink_says_about_any_outcome_counts_under_always() {
    for says in SAYINGS {
        check_all(Confirm::Always, says).await;
    }
}
