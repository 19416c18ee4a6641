//! I20 over a SIGKILL: however many requests use one key, and however often the process dies during
//! them, EvoLink sees one POST.

use std::time::Duration;

use evolink_receiver::simulator::Options;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{base_url, staged, submit};
use crate::support::campaign::{random, rounds};
use crate::support::process::Receiver;
use crate::support::until::until;

const ASKING: usize = 50;

/// EvoLink answers slowly, and its callback comes after the restart.
const PROMPT: &str = "[sim:stall=1s,duration=2s]";

/// Sends all requests at once. `None` for each that was not answered.
fn ask(receiver: &Receiver, key: &str, prompt: &str) -> JoinSet<Option<(u16, Value)>> {
    let mut all = JoinSet::new();
    for _ in 0..ASKING {
        let (http, url) = (receiver.http.clone(), base_url(receiver));
        let (key, prompt) = (key.to_owned(), prompt.to_owned());
        all.spawn(async move { submit(&http, &url, &key, &prompt).await });
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i20_fifty_under_one_key_with_sigkill_in_between_are_one_post_and_one_answer() {
    let mut random = random();
    let (place, simulator) = staged(Options::default()).await;
    let mut receiver = place.start().await;
    let rounds = rounds(3, 40);
    for round in 1..=rounds {
        let key = format!("one-key-of-round-{round}");
        let prompt = format!("{PROMPT} {round}");
        let asking = ask(&receiver, &key, &prompt);
        until("EvoLink has the submit", || {
            simulator.stats().submits >= u64::from(round)
        })
        .await;
        // Kill before EvoLink's answer, at about the same time, or after it.
        sleep(Duration::from_millis(random.u64(..1500))).await;
        receiver.kill();
        let before: Vec<_> = asking.join_all().await;
        receiver = place.start().await;

        let other = submit(&receiver.http, &base_url(&receiver), &key, "another prompt").await;
        assert_eq!(other.unwrap().0, 422, "round {round}");
        let told = answers(&receiver, &key, &prompt).await;
        let accepted = &simulator.tasks()[round as usize - 1];
        let answered = before
            .into_iter()
            .flatten()
            .filter(|(status, _)| *status == 200);
        for task in answered.map(|(_, task)| task).chain(told) {
            assert_eq!(task["id"], accepted.id.as_str(), "round {round}");
        }
        let stats = simulator.stats();
        assert_eq!((stats.submits, stats.charges), (round.into(), round.into()));
    }
    println!("{rounds} rounds of {ASKING}, one POST each");
}

/// Repeats the fifty requests until each is answered with a task. Asserts that these answers are
/// equal, and returns them.
async fn answers(receiver: &Receiver, key: &str, prompt: &str) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let mut tasks = Vec::new();
        for (status, body) in ask(receiver, key, prompt)
            .join_all()
            .await
            .into_iter()
            .flatten()
        {
            match status {
                200 => tasks.push(body),
                // The outcome of the submit is not known yet.
                409 | 504 => {}
                other => panic!("{other}: {body}"),
            }
        }
        if tasks.len() == ASKING {
            assert!(tasks.iter().all(|task| *task == tasks[0]), "{tasks:#?}");
            return tasks;
        }
        assert!(Instant::now() < deadline, "{} are told of it", tasks.len());
        sleep(Duration::from_millis(100)).await;
    }
}
