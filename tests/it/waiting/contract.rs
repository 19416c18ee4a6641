//! The answer to a waiting query and when it comes, for every way in which a task is finished.

use std::time::Duration;

use evolink_receiver::simulator::Options;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{SEATS_TAKEN, get, nobody_waits, submission_id, waiting, waiting_for};
use crate::support::app::TestApp;
use crate::support::app::waiting::{asking, body, send, told};
use crate::support::net::raw_server::{End, NOT_FOUND, RawServer, http};
use crate::support::until::{PATIENCE, until};

const ID: &str = "task-unified-1-waited";

const MISSED: &str = "SELECT CAST(missed_polls AS BIGINT) FROM task";

async fn started() -> TestApp {
    let app = TestApp::start().await;
    told(&app, ID, "processing").await;
    app
}

#[tokio::test]
async fn v2_no_time_is_at_once_and_what_is_no_number_is_refused() {
    let app = started().await;
    for query in ["", "?wait=0", "?"] {
        get(&app, &format!("/v1/tasks/{ID}{query}"))
            .await
            .assert_told("processing");
    }
    for value in ["-1", "NaN", "10s", "", "1.5", "%2B1", "1e1"] {
        get(&app, &format!("/v1/tasks/{ID}?wait={value}"))
            .await
            .assert_error(400, "invalid_request", Some("wait"));
    }
    get(&app, &format!("/v1/tasks/{ID}?wiat=10"))
        .await
        .assert_error(400, "invalid_request", Some("wiat"));
    get(&app, "/v1/tasks/task-absent?wait=60")
        .await
        .assert_error(404, "task_not_found", None);
    get(&app, "/v1/tasks/%00?wait=60")
        .await
        .assert_error(400, "invalid_task_id", Some("task_id"));
    assert_eq!(app.counter(SEATS_TAKEN), 0);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn the_task_is_answered_as_it_is_when_the_time_is_over() {
    let app = started().await;
    let answer = get(&app, &format!("/v1/tasks/{ID}?wait=1")).await;
    answer.assert_told("processing");
    assert!(answer.took >= Duration::from_secs(1), "{answer:?}");
    nobody_waits(&app).await;
    app.stop().await.0.unwrap();
}

/// EvoLink refused the submit at another replica, and no event reports that.
#[tokio::test]
async fn a_waiter_gets_a_refusal_by_another_replica_after_the_submit_was_unknown() {
    const SUBMISSION: &str = "01890000-0000-7000-8000-000000000001";
    let app = started().await;
    let database = app.database().await;
    let sql = format!(
        "INSERT INTO task (seq, submission_id, origin, state, progress, observations, submitted_at, polls, empty_polls,
            missed_polls) VALUES (2, '{SUBMISSION}', 'submit', 'submitting', 0, 0, 0, 0, 0, 0)"
    );
    database.execute(&sql).await;
    let becomes = async |state: &str| {
        let sql = format!("UPDATE task SET state = '{state}' WHERE submission_id = '{SUBMISSION}'");
        database.execute(&sql).await;
    };
    for state in ["submitting", "submit_unknown"] {
        becomes(state).await;
        let waiting = waiting_for(&app, SUBMISSION).await;
        becomes("rejected").await;
        waiting.await.unwrap().assert_told("rejected");
    }
    database.close().await;
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_waiter_by_either_id_is_notified_of_the_outcome_and_not_of_progress() {
    let app = started().await;
    for status in ["completed", "failed", "cancelled"] {
        let id = format!("task-{status}");
        told(&app, &id, "pending").await;
        let submission = submission_id(&get(&app, &format!("/v1/tasks/{id}")).await.body);
        let (by_task, by_submission) = (
            waiting_for(&app, &id).await,
            waiting_for(&app, &submission).await,
        );
        told(&app, &id, "processing").await;
        // The outcome of another task does not end this wait.
        told(&app, &format!("{id}-other"), status).await;
        assert!(!by_task.is_finished() && !by_submission.is_finished());
        told(&app, &id, status).await;
        let (by_task, by_submission) = (by_task.await.unwrap(), by_submission.await.unwrap());
        by_task.assert_told(status);
        assert_eq!(by_task.body, by_submission.body);
        let again = get(&app, &format!("/v1/tasks/{id}?wait=60")).await;
        again.assert_told(status);
        assert_eq!(again.body, by_task.body);
    }
    nobody_waits(&app).await;
    app.stop().await.0.unwrap();
}

/// An app that waits until `finished` neither asks for ever nor stops too early.
#[tokio::test]
async fn only_a_finished_task_is_answered_at_once() {
    let app = started().await;
    let waited = async |id: &str, state: &str, finished: bool| {
        let answer = get(&app, &format!("/v1/tasks/{id}?wait=1")).await;
        answer.assert_told(state);
        assert_eq!(answer.body["receiver"]["finished"], finished, "{state}");
        let has_waited = answer.took >= Duration::from_secs(1);
        assert_eq!(has_waited, !finished, "{state}: {:?}", answer.took);
    };
    for state in ["completed", "failed", "cancelled"] {
        told(&app, &format!("task-{state}"), state).await;
        waited(&format!("task-{state}"), state, true).await;
    }
    let database = app.database().await;
    for (state, finished) in [
        ("pending", false),
        ("processing", false),
        ("unresolved", true),
    ] {
        let sql = format!("UPDATE task SET state = '{state}' WHERE task_id = '{ID}'");
        database.execute(&sql).await;
        waited(ID, state, finished).await;
    }
    database.close().await;
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_submit_that_evolink_refuses_is_over() {
    let refusal = json!({"error": {"code": "invalid_request", "message": "no"}}).to_string();
    let evolink =
        RawServer::start_slow(Duration::from_secs(2), move |_| http(400, &[], &refusal)).await;
    let url = evolink.url.parse().unwrap();
    let app = TestApp::builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    let submitting = async {
        app.submit(&json!({"model": "z-image-turbo", "prompt": "a"}))
            .await
    };
    let waiting = async {
        until("EvoLink has it", || !evolink.requests().is_empty()).await;
        let listed = get(&app, "/v1/tasks").await.body;
        let id = submission_id(&listed["data"][0]);
        waiting_for(&app, &id).await.await.unwrap()
    };
    let (submitted, waited) = tokio::join!(submitting, waiting);
    assert_eq!(submitted.0, 400);
    waited.assert_told("rejected");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_task_that_is_given_up_is_over() {
    let gone = RawServer::start_answering(
        |request| {
            if request.starts_with("POST ") {
                http(200, &[], &body(ID, "pending"))
            } else {
                http(404, &[], NOT_FOUND)
            }
        },
        End::Close,
    )
    .await;
    let url = gone.url.parse().unwrap();
    let app = TestApp::builder()
        .with_manual_clock()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    app.submitted("a").await;
    let waiting = waiting_for(&app, ID).await;
    let database = app.database().await;
    for number in 1..=3_i64 {
        app.clock.advance(Duration::from_mins(1));
        // The next poll is planned when the answer to this one is recorded, so move the clock only
        // then.
        let deadline = Instant::now() + PATIENCE;
        while database.value::<i64>(MISSED, &[]).await < number {
            assert!(Instant::now() < deadline, "EvoLink is not asked");
            sleep(Duration::from_millis(10)).await;
        }
    }
    database.close().await;
    waiting.await.unwrap().assert_told("unresolved");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_preference_is_applied_and_said_to_be_and_a_parameter_is_stronger() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    told(&app, ID, "processing").await;
    let path = format!("/v1/tasks/{ID}");
    let preferring = |path: &str, lines: &[&str]| {
        let request = asking(&app, path);
        lines
            .iter()
            .fold(request, |request, line| request.header("prefer", *line))
    };
    for (lines, applied) in [
        (&["wait=1"][..], Some("wait=1")),
        (&["respond-async, WAIT=\"1\""], Some("wait=1")),
        (&["return=minimal", "wait=1; x, wait=60"], Some("wait=1")),
        (&["wait=0"], Some("wait=0")),
        (&["wait=soon"], None),
        (&["wait=-1"], None),
    ] {
        let answer = send(preferring(&path, lines)).await;
        answer.assert_told("processing");
        assert_eq!(answer.header("preference-applied"), applied, "{lines:?}");
        // A request that does not wait has no minimum time. One that waited may have taken any
        // longer time.
        let least = Duration::from_secs((applied == Some("wait=1")).into());
        assert!(answer.took >= least, "{lines:?}: {answer:?}");
    }
    let both = send(preferring(&format!("{path}?wait=0"), &["wait=60"])).await;
    both.assert_told("processing");
    assert_eq!(both.header("preference-applied"), None);

    let waiting = waiting(&app, preferring(&path, &["wait=1000000000"])).await;
    told(&app, ID, "completed").await;
    let answer = waiting.await.unwrap();
    answer.assert_told("completed");
    assert_eq!(answer.header("preference-applied"), Some("wait=50"));
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_stop_answers_all_waiters_with_the_current_state() {
    let app = started().await;
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.push(waiting_for(&app, ID).await);
    }
    app.stop().await.0.unwrap();
    for waiting in waits {
        waiting.await.unwrap().assert_told("processing");
    }
}
