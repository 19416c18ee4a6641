//! Submits free their `Idempotency-Key` if EvoLink accepted nothing.

use std::time::Duration;

use evolink_receiver::simulator::{Options, Simulator};
use tokio::time::sleep;

use super::idempotency::{KEY, body, started};
use crate::internal::calls::{completed, row_counts, state, submission, submit_under, token_of};
use crate::support::app::answer::{Answer, send};
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::net::raw_server::{RawServer, http};
use crate::support::store::TestStore;
use crate::support::until::until;

#[tokio::test]
async fn a_refusal_frees_the_key() {
    let (app, evolink) = started().await;
    for (fault, status) in [("error-400", 400), ("no-quota", 402), ("rate-limited", 429)] {
        let key = format!("key-of-{fault}-0000");
        let prompt = body(&format!("[sim:{fault},refusals=1,duration=10m]"));
        assert_eq!(
            submit_under(&app, &key, prompt.clone()).await.status,
            status
        );
        // Another body is fine too, because EvoLink did not accept the first.
        let second = submit_under(&app, &key, prompt).await;
        assert_eq!(
            (second.status, second.header("idempotency-replayed")),
            (200, None),
            "{fault}"
        );
    }
    assert_eq!((evolink.stats().submits, evolink.stats().charges), (6, 3));

    let app = TestApp::start().await;
    for prompt in ["a", "b"] {
        let answer = submit_under(&app, KEY, body(prompt)).await;
        answer.assert_error(503, "evolink_unreachable", None, prompt);
    }
    assert_eq!(row_counts(&app).await[4], 0);
}

/// A receiver whose EvoLink refuses slowly, and the submission id of a submit under `KEY` that
/// waits for the refusal.
async fn waiting_for_a_refusal() -> (TestApp, RawServer, tokio::task::JoinHandle<Answer>, String) {
    let refusal = r#"{"error":{"code":"rate_limit_exceeded","message":"m","type":"t"}}"#;
    let evolink = RawServer::start_slow(Duration::from_secs(1), |_| http(429, &[], refusal)).await;
    let url = evolink.url.parse().unwrap();
    let app = TestApp::builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    let request = submission(&app, body("a cat")).header("idempotency-key", KEY);
    let asking = tokio::spawn(send(request));
    until("EvoLink has the submit", || !evolink.requests().is_empty()).await;
    let page = app.get("/v1/tasks").await.1;
    let id = page["data"][0]["receiver"]["submission_id"].as_str();
    let id = id.unwrap().to_owned();
    (app, evolink, asking, id)
}

#[tokio::test]
async fn a_refusal_that_a_callback_has_contradicted_frees_no_key_and_is_answered_with_the_task() {
    let (app, evolink, asking, id) = waiting_for_a_refusal().await;
    let result = app
        .callback_result(&token_of(&app, &id), completed("task-unified-1-accepted"))
        .await;
    assert_eq!(result, "recorded");
    for answer in [
        asking.await.unwrap(),
        submit_under(&app, KEY, body("a cat")).await,
    ] {
        assert_eq!(
            (answer.status, answer.header("x-submission-id")),
            (200, Some(&*id)),
            "{answer:?}"
        );
        assert_eq!(answer.body["id"], "task-unified-1-accepted");
    }
    assert_eq!(evolink.requests().len(), 1);
    assert_eq!(row_counts(&app).await[4], 1);
}

#[tokio::test]
async fn a_refusal_that_comes_when_the_submit_was_given_up_still_frees_the_key() {
    let (app, evolink, asking, id) = waiting_for_a_refusal().await;
    // The reconciler does this when the clock jumps.
    let database = app.database().await;
    let sql = format!("UPDATE task SET state = 'submit_unknown' WHERE submission_id = '{id}'");
    database.execute(&sql).await;
    assert_eq!(asking.await.unwrap().status, 429);
    assert_eq!(state(&app, &id).await, "rejected");
    assert_eq!(submit_under(&app, KEY, body("a cat")).await.status, 429);
    assert_eq!(evolink.requests().len(), 2);
}

/// Makes the commit of an intent so slow that the recorder gives up waiting for the server.
const COMMIT_LATE: &str = "
    CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_sleep(6);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON task DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()";

/// A receiver that gave up waiting for an intent under `KEY`, which was written after all, and the
/// body of that submit. From before the intent on, the server takes connections only if
/// `is_reachable`. Only a database server can commit a transaction that we no longer wait for.
async fn written_after_all(is_reachable: bool) -> Option<(TestApp, Simulator, String)> {
    let store = TestStore::on_postgres()?;
    let builder = TestAppBuilder::new(tempfile::tempdir().unwrap(), store);
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    // The recorder is connected.
    let first = submit_under(&app, "key-of-another-submit", body("[sim:duration=10m]")).await;
    assert_eq!(first.status, 200, "{first:?}");
    let database = app.database().await;
    database.execute(COMMIT_LATE).await;
    app.store.let_in(is_reachable).await;
    let prompt = body("a cat [sim:duration=10m]");
    let answer = submit_under(&app, KEY, prompt.clone()).await;
    answer.assert_error(503, "service_unavailable", None, "too slow");
    // This waits for the running transaction.
    database.execute("DROP FUNCTION late CASCADE").await;
    let written = "SELECT count(*) FROM task";
    assert_eq!(
        database.value::<i64>(written, &[]).await,
        2,
        "it was written after all"
    );
    database.close().await;
    Some((app, evolink, prompt))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_that_was_written_after_all_does_not_keep_its_key() {
    let Some((app, evolink, prompt)) = written_after_all(true).await else {
        return;
    };
    let answer = submit_under(&app, KEY, prompt).await;
    assert_eq!(
        (answer.status, evolink.stats().submits),
        (200, 2),
        "{answer:?}"
    );
}

/// The outage outlasts the wait of the app, which is 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn such_an_intent_frees_its_key_after_an_outage_too() {
    const OUTAGE: Duration = Duration::from_secs(6);
    let Some((app, evolink, prompt)) = written_after_all(false).await else {
        return;
    };
    sleep(OUTAGE).await;
    app.store.let_in(true).await;
    let database = app.database().await;
    let newest = "SELECT submission_id FROM task ORDER BY seq DESC LIMIT 1";
    let id: String = database.value(newest, &[]).await;
    app.task_when(&id, |task| task["receiver"]["state"] == "rejected")
        .await;
    let answer = submit_under(&app, KEY, prompt).await;
    assert_eq!(
        (answer.status, evolink.stats().submits),
        (200, 2),
        "{answer:?}"
    );
}
