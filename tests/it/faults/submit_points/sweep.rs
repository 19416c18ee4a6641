//! Submits with keys, and the apps' retries, while the receiver is killed at random moments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::stage::Stage;
use crate::support::campaign::{random, rounds};

const APPS: u32 = 16;

/// EvoLink's behaviour for each submit, in turn.
const WAYS: [&str; 8] = [
    "duration=100ms",
    "duration=300ms,lost-callback",
    "reset,duration=100ms",
    "stall=200ms,duration=100ms",
    "early-callback,duration=0ms",
    "stall=300ms,duration=50ms,lost-callback",
    "bad-gateway,duration=200ms,twice",
    "fail,duration=100ms",
];

/// Tries of one key in a row. A submit in flight is only answered after five seconds.
const TRIES: u32 = 40;

/// The task ids that apps received, by key.
type Told = Mutex<BTreeMap<String, BTreeSet<String>>>;

struct Apps {
    stop: AtomicBool,
    next: AtomicU32,
    told: Told,
    unknown: AtomicU32,
}

/// One app: submits one key after the other, each until it is answered or the apps stop.
async fn submit_all(stage: &Mutex<Stage>, apps: &Apps) {
    while !apps.stop.load(Ordering::Relaxed) {
        let number = apps.next.fetch_add(1, Ordering::Relaxed);
        let (key, prompt) = key_and_prompt(number);
        for _ in 0..TRIES {
            let asking = stage.lock().await.submit(&prompt, &key);
            match asking.await.unwrap() {
                Some((200, task)) => {
                    let id = task["id"].as_str().unwrap().to_owned();
                    apps.told.lock().await.entry(key).or_default().insert(id);
                    break;
                }
                Some((504, _)) => {
                    apps.unknown.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                // This submit was in flight before a restart. It is repeated at the end.
                Some((409, _)) => break,
                Some((503, _)) | None => sleep(Duration::from_millis(10)).await,
                Some((status, body)) => panic!("{key}: {status} {body}"),
            }
            if apps.stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}

fn key_and_prompt(number: u32) -> (String, String) {
    let key = format!("sweep-of-submits-{number}");
    let way = WAYS[number as usize % WAYS.len()];
    let prompt = format!("[sim:{way}] {key}");
    (key, prompt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submits_under_keys_are_paid_once_whenever_the_receiver_is_killed() {
    let mut random = random();
    let rounds = rounds(20, 200);
    let stage = Arc::new(Mutex::new(Stage::new().await));
    let apps = Arc::new(Apps {
        stop: AtomicBool::new(false),
        next: AtomicU32::new(0),
        told: Mutex::default(),
        unknown: AtomicU32::new(0),
    });
    let running = (0..APPS).map(|_| {
        let (stage, apps) = (Arc::clone(&stage), Arc::clone(&apps));
        tokio::spawn(async move { submit_all(&stage, &apps).await })
    });
    let running: Vec<_> = running.collect();
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        sleep(Duration::from_micros(random.u64(..400_000))).await;
        longest = longest.max(stage.lock().await.kill_and_start().await);
    }
    apps.stop.store(true, Ordering::Relaxed);
    for app in join_all(running).await {
        app.unwrap();
    }
    let mut stage = Arc::into_inner(stage).unwrap().into_inner();
    if stage.start_later().await {
        until_all_ended(&stage).await;
        stage.until_bound(&tasks_with_callbacks(&stage)).await;
    }
    let told = apps.told.lock().await.clone();
    let keys = apps.next.load(Ordering::Relaxed);
    assert_once(&stage, &told, keys).await;
    println!(
        "{rounds} kills, {keys} keys, {} charges; {} submits and {} callbacks acknowledged, none lost, none doubled; {} told unknown; the longest recovery took {longest:?}",
        stage.evolink.stats().charges,
        told.len(),
        stage.evolink.stats().callbacks_acknowledged,
        apps.unknown.load(Ordering::Relaxed),
    );
}

/// Waits until every task has ended or is shown as unknown.
async fn until_all_ended(stage: &Stage) {
    let open = |state: &String| ["submitting", "pending", "processing"].contains(&state.as_str());
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let states = stage.states().await;
        let left = states.iter().filter(|state| open(state)).count();
        if left == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{left} never end: {states:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Tasks for which EvoLink sent a callback, whatever the answer to the submit.
fn tasks_with_callbacks(stage: &Stage) -> Vec<String> {
    let tasks = stage.evolink.tasks().into_iter();
    let tasks = tasks.filter(|task| !task.prompt.contains("lost-callback"));
    tasks.map(|task| task.id).collect()
}

/// Asserts that no key was paid for twice, and that each task an app received exists and is the
/// only one of its key.
async fn assert_once(stage: &Stage, told: &BTreeMap<String, BTreeSet<String>>, keys: u32) {
    let mut paid: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for task in stage.evolink.tasks() {
        let (_, key) = task.prompt.split_once("] ").unwrap();
        paid.entry(key.to_owned()).or_default().push(task.id);
    }
    let doubled: Vec<_> = paid.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(doubled.is_empty(), "paid for twice: {doubled:?}");
    assert_eq!(paid.len() as u64, stage.evolink.stats().charges);
    let sql = "SELECT task_id FROM task WHERE task_id IS NOT NULL";
    let stored: Vec<String> = stage.eye.values(sql, &[]).await;
    for (key, ids) in told {
        assert_eq!(ids.len(), 1, "{key} has one task: {ids:?}");
        assert!(
            ids.iter().all(|id| stored.contains(id)),
            "{key}: acknowledged and lost: {ids:?}"
        );
        assert_eq!(paid.get(key), Some(&ids.iter().cloned().collect()), "{key}");
    }
    let heard = "SELECT DISTINCT task.task_id FROM observation JOIN task ON task.seq = observation.id / 1024
        WHERE observation.source = 'callback'";
    let heard: Vec<String> = stage.eye.values(heard, &[]).await;
    let attempts = stage.evolink.callback_attempts().into_iter();
    let mut acknowledged = attempts.filter(|attempt| attempt.status == Some(200));
    let lost = acknowledged.find(|attempt| !heard.contains(&attempt.task_id));
    assert!(lost.is_none(), "acknowledged and lost: {lost:?}");
    // Retry the submits that were never answered: each has its one task, or is reported as unknown.
    for (key, prompt) in (0..keys).map(key_and_prompt) {
        let before = stage.evolink.stats().charges;
        let (status, body) = stage
            .submit(&prompt, &key)
            .await
            .unwrap()
            .expect("an answer");
        let was_paid = paid.contains_key(&key);
        let is_new = stage.evolink.stats().charges > before;
        assert!(
            !(was_paid && is_new),
            "{key} is paid for again: {status} {body}"
        );
    }
    stage
        .assert_whole(stage.evolink.stats().charges, "the sweep")
        .await;
}
