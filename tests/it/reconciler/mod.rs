//! What no callback told is found by asking: at its pace, as often as EvoLink allows, and never for ever.

mod answers;
mod endings;
mod pace;
mod years;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::domain::callback_token::Subject;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::raw_server::{End, RawServer, http};
use crate::support::until::until;

/// Two looks of the reconciler and some: enough for what must not happen to happen.
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

/// EvoLink as a list of answers to polls, the last of which it repeats.
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

/// Moves the clock to just before the next poll, which must not come, then to it; `polled` must be the number then.
async fn next_poll_after(app: &TestApp, gap: Duration, count: impl Fn() -> usize, number: usize) {
    app.clock
        .advance(gap.saturating_sub(Duration::from_millis(1)));
    sleep(SOME_TICKS).await;
    assert_eq!(count(), number - 1, "before its time");
    app.clock.advance(Duration::from_millis(1));
    until("the poll", || count() == number).await;
    let recorded = app.database().await;
    let deadline = Instant::now() + seconds(60);
    while recorded.value::<i64>("SELECT polls FROM task", &[]).await
        < i64::try_from(number).unwrap()
    {
        assert!(Instant::now() < deadline, "the poll was not recorded");
        sleep(Duration::from_millis(20)).await;
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
