//! EvoLink's rules for callbacks, and a clean shutdown.

use std::time::Duration;

use evolink_receiver::simulator::Faults;

use super::catcher::{Catcher, status};
use super::{Stage, eventually};

#[tokio::test]
async fn a_callback_is_what_a_query_answers() {
    let stage = Stage::start().await;
    let id = stage.task("a cat").await;
    let caught = stage.caught(1).await;
    assert_eq!(caught[0].json(), stage.query(&id).await.json());
    assert_eq!(caught[0].path, "/callbacks/token");
    assert_eq!(caught[0].headers["content-type"], "application/json");
    let user_agent = caught[0].headers["user-agent"].to_str().unwrap();
    assert!(user_agent.starts_with("evolink-simulator/"), "{user_agent}");
}

#[tokio::test]
async fn a_refused_callback_is_retried_until_a_2xx() {
    let catcher = Catcher::answering(|before| status(if before == 0 { 503 } else { 204 })).await;
    let stage = Stage::with(catcher, |options| {
        options.retry_delays = [300, 1, 1].map(Duration::from_millis).to_vec();
    })
    .await;
    stage.task("a cat").await;
    let caught = stage.caught(2).await;
    assert_eq!(caught[0].body, caught[1].body);
    let gap = caught[1].at - caught[0].at;
    assert!(gap >= Duration::from_millis(300), "{gap:?}");
    assert_eq!(stage.settled().await.len(), 2);
    let attempts = stage.simulator.callback_attempts();
    let seen: Vec<_> = attempts
        .iter()
        .map(|a| (a.delivery, a.attempt, a.status))
        .collect();
    assert_eq!(seen, [(1, 1, Some(503)), (1, 2, Some(204))]);
    let stats = stage.simulator.stats();
    assert_eq!((stats.callbacks_sent, stats.callbacks_acknowledged), (2, 1));
    assert_eq!(stats.callbacks_given_up, 0);
}

#[tokio::test]
async fn a_callback_is_given_up_after_three_retries_and_redirects_are_refusals() {
    let catcher = Catcher::answering(|_| {
        let mut answer = status(307);
        let location = http::HeaderValue::from_static("/elsewhere");
        answer.headers_mut().insert("location", location);
        answer
    })
    .await;
    let stage = Stage::with(catcher, |_| {}).await;
    stage.task("a cat").await;
    eventually(|| stage.simulator.stats().callbacks_given_up == 1).await;
    let caught = stage.catcher.caught();
    assert_eq!(caught.len(), 4);
    assert!(
        caught
            .iter()
            .all(|callback| callback.path == "/callbacks/token")
    );
}

#[tokio::test]
async fn an_untrusted_certificate_and_a_silent_server_are_failed_attempts() {
    let stage = Stage::with(Catcher::start().await, |options| {
        options.callback_ca_pem = None;
    })
    .await;
    stage.task("a cat").await;
    eventually(|| stage.simulator.stats().callbacks_given_up == 1).await;
    assert!(stage.catcher.caught().is_empty());
    let error = stage.simulator.callback_attempts()[0]
        .error
        .clone()
        .unwrap();
    assert!(
        error.contains("certificate") && !error.contains("token"),
        "{error}"
    );

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = Stage::with(Catcher::start().await, |options| {
        options.callback_timeout = Duration::from_millis(50);
    })
    .await;
    let mut body = stage.request("a cat");
    body["callback_url"] = format!("https://{}/x", silent.local_addr().unwrap()).into();
    stage.send(stage.post(&body)).await;
    eventually(|| stage.simulator.stats().callbacks_given_up == 1).await;
    assert_eq!(stage.simulator.stats().callbacks_sent, 4);
}

#[tokio::test]
async fn faults_by_probability_hit_plain_prompts() {
    let faults = Faults::seeded(3).with("lost-callback", 1.0).unwrap();
    let stage = Stage::with(Catcher::start().await, |options| options.faults = faults).await;
    stage.task("a cat").await;
    assert!(stage.settled().await.is_empty());
    stage.task("a cat [sim:well-behaved]").await;
    assert_eq!(stage.caught(1).await.len(), 1);
}

#[tokio::test]
async fn shutdown_ends_stalled_submits_running_tasks_and_waiting_retries() {
    let catcher = Catcher::answering(|_| status(503)).await;
    let stage = Stage::with(catcher, |options| {
        options.retry_delays = vec![Duration::from_mins(10)];
    })
    .await;
    stage.task("a cat").await;
    stage.task("[sim:never-ends]").await;
    stage.caught(1).await;
    let stalled = stage.post(&stage.request("[sim:stall=10m]")).send();
    let shutdown = async {
        eventually(|| stage.simulator.stats().charges == 3).await;
        let addr = stage.simulator.addr();
        stage.simulator.shutdown().await;
        assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    };
    let both = async { tokio::join!(stalled, shutdown) };
    let ended = tokio::time::timeout(Duration::from_mins(1), both).await;
    assert!(ended.is_ok(), "the simulator did not end");
}

#[tokio::test]
async fn old_tasks_and_log_entries_are_forgotten() {
    let stage = Stage::with(Catcher::start().await, |options| {
        options.tasks_max = 3;
        options.log_max = 2;
    })
    .await;
    for n in 0..5 {
        stage.task(&format!("cat {n}")).await;
        eventually(|| stage.simulator.stats().tasks_running == 0).await;
    }
    assert_eq!(stage.simulator.tasks().len(), 3);
    assert_eq!(stage.simulator.submits().len(), 2);
    assert_eq!(stage.simulator.stats().charges, 5);
    for _ in 0..3 {
        stage.task("[sim:never-ends]").await;
    }
    assert_eq!(stage.submit("one too many").await.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_at_once_are_all_charged_and_all_reported() {
    let stage = Stage::start().await;
    let submits = (0..200).map(|n| stage.task(["a cat", "[sim:early-callback]"][n % 2]));
    let mut ids = futures_util::future::join_all(submits).await;
    let caught = stage.caught(200).await;
    let mut reported: Vec<String> = caught
        .iter()
        .map(|callback| callback.json()["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    reported.sort();
    assert_eq!(ids, reported);
    assert_eq!(stage.simulator.stats().charges, 200);
}
