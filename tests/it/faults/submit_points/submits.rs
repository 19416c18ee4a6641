//! Kills at each point of a submit.

use std::net::TcpListener;

use futures_util::future::join_all;

use super::stage::Stage;
use crate::support::machine::needs::{self, Root};
use crate::support::store::is_postgres;

const KEY: &str = "order-4711-picture-1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    BeforeIntentCommit,
    AfterIntentCommit,
    AfterEvolinkAccepted,
    BeforeBindCommit,
    AfterBindCommit,
    AfterAnswer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callback {
    Comes,
    IsLost,
}

use Callback::{Comes, IsLost};
use Point::{
    AfterAnswer, AfterBindCommit, AfterEvolinkAccepted, AfterIntentCommit, BeforeBindCommit,
    BeforeIntentCommit,
};

/// The prompt that the app sends at its first try and at all later ones.
fn prompt(point: Point, callback: Callback) -> String {
    let answer = match point {
        AfterEvolinkAccepted => "stall=60s,",
        // Long enough for the test to be ready before the answer on any machine.
        BeforeBindCommit | AfterBindCommit => "stall=3s,",
        BeforeIntentCommit | AfterIntentCommit | AfterAnswer => "",
    };
    let callback = match callback {
        Comes => "duration=4s",
        IsLost => "duration=4s,lost-callback",
    };
    format!("[sim:{answer}{callback}] a point")
}

/// Submits, and kills the receiver at the point. False where that is not possible.
async fn die_at(point: Point, prompt: &str, stage: &mut Stage) -> bool {
    // This server listens and never reads: the connection is established, and the request is sent.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    if point == AfterIntentCommit {
        stage.move_evolink(&format!("http://{}", deaf.local_addr().unwrap()));
        stage.kill_and_start().await;
        let url = stage.evolink.base_url();
        stage.move_evolink(&url);
    }
    if point == BeforeIntentCommit {
        stage.eye.hold_writes().await;
    }
    let asking = match point {
        BeforeIntentCommit => stage.in_line(|| stage.submit(prompt, KEY)).await,
        _ => stage.submit(prompt, KEY),
    };
    match point {
        BeforeIntentCommit => {}
        AfterIntentCommit => {
            stage.until_states(&["submitting"]).await;
            let (_connection, _) = deaf.accept().unwrap();
        }
        AfterEvolinkAccepted => stage.until_charged().await,
        BeforeBindCommit => {
            stage.until_charged().await;
            stage.eye.hold_writes().await;
            stage.until_in_line().await;
        }
        AfterBindCommit => {
            stage.until_charged().await;
            let Some(mut tracer) = stage.end_at_next_answer().await else {
                return false;
            };
            stage.until_states(&["pending"]).await;
            stage.receiver.ended().await;
            tracer.wait().unwrap();
        }
        AfterAnswer => {
            let (status, task) = asking.await.unwrap().expect("it was answered");
            assert_eq!(
                (status, &task["status"]),
                (200, &"pending".into()),
                "{task}"
            );
            stage.receiver.kill();
            return true;
        }
    }
    if stage.receiver.is_running() {
        stage.receiver.kill();
    }
    if matches!(point, BeforeIntentCommit | BeforeBindCommit) {
        stage.eye.let_write().await;
    }
    let answer = asking.await.unwrap();
    assert!(
        answer.as_ref().is_none_or(|(status, _)| *status == 503),
        "{point:?}: nobody was to be told: {answer:?}"
    );
    true
}

/// Checks how an app that retries is answered, and how often EvoLink was paid.
async fn live_on(point: Point, callback: Callback, prompt: &str, stage: &mut Stage) {
    let what = format!("{point:?} {callback:?}");
    stage.receiver = stage.place.start().await;
    if point == BeforeIntentCommit {
        assert!(stage.states().await.is_empty(), "{what}");
        assert_eq!(stage.evolink.stats().charges, 0, "{what}");
    }
    let is_lost = matches!(
        (point, callback),
        (AfterIntentCommit, _) | (AfterEvolinkAccepted | BeforeBindCommit, IsLost)
    );
    if !is_lost {
        let (status, task) = stage.submit(prompt, KEY).await.unwrap().expect("an answer");
        let is_in_flight =
            status == 409 && matches!(point, AfterEvolinkAccepted | BeforeBindCommit);
        assert!(status == 200 || is_in_flight, "{what}: {status} {task}");
        stage.until_states(&["completed"]).await;
        let (status, task) = stage.submit(prompt, KEY).await.unwrap().expect("an answer");
        let id = stage.evolink.tasks()[0].id.clone();
        assert_eq!(
            (status, task["id"].as_str()),
            (200, Some(&*id)),
            "{what}: {task}"
        );
        let source: String = stage.eye.value("SELECT source FROM task", &[]).await;
        let wanted = if callback == Comes {
            "callback"
        } else {
            "poll"
        };
        // The poll comes so soon after the submit that either may be first where both come.
        assert!(
            source == wanted || callback == Comes,
            "{what}: found by {source}"
        );
        return stage.assert_whole(1, &what).await;
    }
    // The outcome cannot be known: the submit is not sent again, and is shown as open.
    stage.until_states(&["submitting"]).await;
    if stage.start_later().await {
        stage.until_states(&["submit_unknown"]).await;
        let (status, error) = stage.submit(prompt, KEY).await.unwrap().expect("an answer");
        let code = &error["error"]["code"];
        assert_eq!(
            (status, code),
            (504, &"submit_outcome_unknown".into()),
            "{what}: {error}"
        );
    }
    stage
        .assert_whole(u64::from(point != AfterIntentCommit), &what)
        .await;
}

async fn story(point: Point, callback: Callback) {
    let mut stage = Stage::new().await;
    let prompt = prompt(point, callback);
    if die_at(point, &prompt, &mut stage).await {
        live_on(point, callback, &prompt, &mut stage).await;
        println!("{point:?} {callback:?}: {:?}", stage.states().await);
    }
}

/// None of these is limited by the machine's speed, so several run at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_that_is_killed_at_any_point_is_paid_once_and_ends_or_shows_as_unknown() {
    let points = [
        BeforeIntentCommit,
        AfterIntentCommit,
        AfterEvolinkAccepted,
        BeforeBindCommit,
        AfterAnswer,
    ];
    let stories = points
        .into_iter()
        .flat_map(|point| [story(point, Comes), story(point, IsLost)]);
    let mut stories: Vec<_> = stories.collect();
    while !stories.is_empty() {
        let some = stories.split_off(stories.len().saturating_sub(5));
        join_all(some).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_that_is_killed_in_its_answer_is_paid_once_and_ends() {
    // A receiver on PostgreSQL next writes to its database server instead of to the client.
    if is_postgres() || !needs::are_met(Root::NotNeeded, &["strace"]) {
        return;
    }
    join_all([
        story(AfterBindCommit, Comes),
        story(AfterBindCommit, IsLost),
    ])
    .await;
}
