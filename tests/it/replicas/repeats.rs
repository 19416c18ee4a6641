//! The repeat guard with several processes: a repeat may go to another replica than the first
//! submit.

use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::three::Replicas;
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::net::raw::RawClient;
use crate::support::store::TestStore;
use crate::support::until::until;

/// Time in which the rows of the app that has left would have been refreshed.
const FOR_A_REFRESH: Duration = Duration::from_secs(2);

/// EvoLink accepts and charges at once, but answers after `seconds`.
fn slow(seconds: u32, what: &str) -> Value {
    let prompt = format!("[sim:stall={seconds}s,duration=10m,lost-callback] {what}");
    json!({"model": "z-image-turbo", "prompt": prompt})
}

async fn submit(app: &TestApp, body: &Value) -> (u16, bool, Value) {
    let request = app.request(reqwest::Method::POST, "/v1/images/generations");
    let answer = request.json(body).send().await.unwrap();
    let is_replayed = answer.headers().contains_key("idempotency-replayed");
    let status = answer.status().as_u16();
    (status, is_replayed, answer.json().await.unwrap())
}

async fn until_charged(evolink: &Simulator, charges: u64) {
    until("EvoLink has the submit", || {
        evolink.stats().charges == charges
    })
    .await;
}

#[tokio::test]
async fn a_repeat_at_another_replica_gets_the_task_of_the_app_that_disconnected() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let body = slow(2, "left");
    let text = body.to_string();
    let mut client = RawClient::connect_plain(replicas.apps[0].internal).await;
    client
        .send(format!(
            "POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        ))
        .await;
    until_charged(&replicas.simulator, 1).await;
    drop(client);
    let (one, two) = tokio::join!(
        submit(&replicas.apps[1], &body),
        submit(&replicas.apps[2], &body)
    );
    assert_eq!(
        (one.0, one.1, two.0, two.1),
        (200, true, 200, true),
        "{one:?} {two:?}"
    );
    assert_eq!(one.2["id"], two.2["id"]);
    assert_eq!(replicas.simulator.stats().charges, 1);
}

#[tokio::test]
async fn equal_submits_at_two_replicas_whose_apps_wait_are_both_sent() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let body = slow(5, "both wait");
    let second = async {
        until_charged(&replicas.simulator, 1).await;
        submit(&replicas.apps[1], &body).await
    };
    let (one, two) = tokio::join!(submit(&replicas.apps[0], &body), second);
    assert_eq!(
        (one.0, one.1, two.0, two.1),
        (200, false, 200, false),
        "{one:?} {two:?}"
    );
    assert_eq!(replicas.simulator.stats().charges, 2);
}

/// Runs a replica until EvoLink has charged a submit of its own, then ends it with everything on
/// its runtime.
async fn killed(builder: TestAppBuilder, evolink: &Arc<Simulator>, body: &Value) {
    let (evolink, body) = (Arc::clone(evolink), body.clone());
    let process = tokio::task::spawn_blocking(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let app = builder.start().await;
            tokio::select! {
                answer = app.submit(&body) => panic!("killed before its answer: {answer:?}"),
                () = until_charged(&evolink, 1) => {}
            }
        });
    });
    process.await.unwrap();
}

#[tokio::test]
async fn a_repeat_at_another_replica_after_a_kill_of_the_first_is_not_sent() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let builder = TestAppBuilder::new(tempfile::tempdir().unwrap(), store);
    let (app, evolink) = builder
        .clone()
        .start_with_simulator(Options::default())
        .await;
    let (evolink, url) = (Arc::new(evolink), app.config.evolink.base_url.clone());
    let victim = builder.with(|config| config.evolink.base_url = url);
    let body = slow(600, "killed");
    killed(victim, &evolink, &body).await;
    let began = Instant::now();
    for _ in 0..2 {
        let (status, is_replayed, answer) = submit(&app, &body).await;
        assert_eq!((status, is_replayed), (504, true), "{answer}");
        assert_eq!(answer["error"]["code"], "submit_outcome_unknown");
    }
    println!("two repeats took {:.1?}", began.elapsed());
    assert_eq!(evolink.stats().charges, 1);
}

/// The store accepts nothing while an app disconnects, so the other replicas do not learn of it at
/// once.
#[tokio::test]
async fn an_unrecorded_disconnect_is_not_mistaken_for_a_waiting_app() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let body = slow(15, "one leaves, one waits");
    let (here, there) = (&replicas.apps[0], &replicas.apps[1]);
    let text = body.to_string();
    let mut client = RawClient::connect_plain(here.internal).await;
    client
        .send(format!(
            "POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        ))
        .await;
    until_charged(&replicas.simulator, 1).await;
    let waits = async {
        let answer = submit(here, &body).await;
        assert_eq!((answer.0, answer.1), (200, false), "{answer:?}");
    };
    let leaves = async {
        until_charged(&replicas.simulator, 2).await;
        let database = here.database().await;
        // The rows are no longer refreshed, and the disconnect of this app is not recorded.
        database
            .execute("ALTER TABLE unanswered_submit RENAME TO out_of_reach")
            .await;
        drop(client);
        until("the app has left", || {
            here.apps.waiting_for(Duration::ZERO).len() == 1
        })
        .await;
        tokio::time::sleep(FOR_A_REFRESH).await;
        database
            .execute("ALTER TABLE out_of_reach RENAME TO unanswered_submit")
            .await;
        let repeat = submit(there, &body).await;
        assert_eq!((repeat.0, repeat.1), (200, true), "{repeat:?}");
        assert_eq!(replicas.simulator.stats().charges, 2);
    };
    tokio::join!(waits, leaves);
}
