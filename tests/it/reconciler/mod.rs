//! Outcomes that no callback reported are found by polling: at the planned pace, as often as
//! EvoLink allows, and not for ever.

mod answers;
mod backlog;
mod endings;
mod foreign;
mod gateway;
mod impossible;
mod outage;
mod pace;
mod poll_only;
mod poll_only_mode;
mod stop;
mod stuck;
mod years;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::timestamp::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::until::until;

/// A little more than two scans of the reconciler: time enough for an unwanted poll to happen.
const SOME_TICKS: Duration = Duration::from_millis(1300);

const ID: &str = "task-unified-1-polled";

const BY_POLL: &str = "evolink_receiver_outcomes_total{type=\"task.completed\",source=\"poll\"}";

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn body(id: &str, status: &str) -> String {
    json!({"id": id, "status": status, "results": ["https://files.evolink.ai/0.webp"]}).to_string()
}

fn builder() -> TestAppBuilder {
    TestApp::builder().with_manual_clock()
}

/// An EvoLink that gives these answers to polls, one after the other, and repeats the last.
async fn answering(polls: Vec<Vec<u8>>) -> (TestApp, RawServer) {
    let next = AtomicUsize::new(0);
    let evolink = RawServer::start_answering(
        move |request| {
            if request.starts_with("POST ") {
                return http(200, &[], &body(ID, "pending"));
            }
            let number = next.fetch_add(1, Ordering::Relaxed);
            polls[number.min(polls.len() - 1)].clone()
        },
        End::Close,
    )
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    (app, evolink)
}

fn polls(evolink: &RawServer) -> usize {
    evolink
        .requests()
        .iter()
        .filter(|request| request.starts_with("GET "))
        .count()
}

/// Checks that the only task is next polled after `gap` or up to a quarter later. Moves the clock
/// to just before that time, when no poll may happen, and then to it. Then there were `number`
/// polls.
async fn next_poll_after(app: &TestApp, gap: Duration, count: impl Fn() -> usize, number: usize) {
    let recorded = app.database().await;
    let at: i64 = recorded.value("SELECT next_poll_at FROM task", &[]).await;
    let wait = Timestamp::from_millis(at).since(app.clock.now());
    assert!(
        wait >= gap && wait <= gap.mul_f64(1.25),
        "{wait:?}, not {gap:?}"
    );
    app.clock
        .advance(wait.saturating_sub(Duration::from_millis(1)));
    sleep(SOME_TICKS).await;
    assert_eq!(count(), number - 1, "before its time");
    app.clock.advance(Duration::from_millis(1));
    until("the poll", || count() == number).await;
    until_recorded(app, "SELECT polls FROM task", number).await;
}

/// Waits until `sql` returns `number`.
async fn until_recorded(app: &TestApp, sql: &str, number: usize) {
    let database = app.database().await;
    let number = i64::try_from(number).unwrap();
    let deadline = Instant::now() + seconds(60);
    while database.value::<i64>(sql, &[]).await != number {
        assert!(Instant::now() < deadline, "it never was {number}: {sql}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// As `until_recorded`. A poll that fails on a busy machine is made again only later, so the clock
/// goes on by `gap` while it takes long.
async fn until_recorded_by_polls(app: &TestApp, sql: &str, number: usize, gap: Duration) {
    let database = app.database().await;
    let number = i64::try_from(number).unwrap();
    for look in 1..=600 {
        if database.value::<i64>(sql, &[]).await == number {
            return;
        }
        if look % 30 == 0 {
            app.clock.advance(gap);
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("it never was {number}: {sql}");
}

/// An EvoLink that makes a new task for each submit, and answers each poll with `poll` of its task
/// id.
async fn accepting(end: End, poll: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> RawServer {
    let number = AtomicUsize::new(0);
    let answers = move |request: &str| {
        if request.starts_with("POST ") {
            let number = number.fetch_add(1, Ordering::Relaxed);
            return http(
                200,
                &[],
                &body(&format!("task-unified-1-{number}"), "pending"),
            );
        }
        poll(asked_about(request))
    };
    RawServer::start_answering(answers, end).await
}

/// The task id in a poll.
fn asked_about(request: &str) -> &str {
    let path = request.split(' ').nth(1).unwrap();
    path.rsplit('/').next().unwrap()
}

async fn submitted(app: &TestApp, tasks: usize) {
    for _ in 0..tasks {
        app.submitted("a").await;
    }
}

async fn state(app: &TestApp) -> Value {
    app.get(&format!("/v1/tasks/{ID}")).await.1["receiver"]["state"].clone()
}

fn token(app: &TestApp, task: &Value) -> String {
    let id = task["receiver"]["submission_id"].as_str().unwrap();
    app.token(&Subject::Submission(id.parse().unwrap()))
}

async fn event_types(app: &TestApp, id: &str) -> Vec<String> {
    let history = app.get(&format!("/v1/tasks/{id}/events")).await.1;
    let items = history["data"].as_array().unwrap().iter();
    let types = items.map(|item| item["type"].as_str().unwrap().to_owned());
    types.filter(|kind| kind.starts_with("task.")).collect()
}
