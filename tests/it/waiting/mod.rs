//! `?wait=` and `Prefer: wait=`: answers that are held back until a task is finished, through real
//! sockets on the real `App`.

mod contract;
mod crowd;
mod leaving;
mod races;
mod seats;
mod submits;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::app::TestApp;
use crate::support::app::waiting::{Answer, LONG_WAIT, TOLD_WITHIN, asking, send};
use crate::support::described::RequestBuilder;
use crate::support::until::until;

const SEATS_TAKEN: &str = "evolink_receiver_seats_taken";

/// EvoLink accepts the task and never calls back.
const SILENT: &str = "[sim:never-ends,lost-callback]";

async fn get(app: &TestApp, path: &str) -> Answer {
    send(asking(app, path)).await
}

/// Starts a query and returns it once it is waiting.
async fn waiting(app: &TestApp, request: RequestBuilder) -> JoinHandle<Answer> {
    let before = app.counter(SEATS_TAKEN);
    let waiting = tokio::spawn(send(request));
    until("it waits", || app.counter(SEATS_TAKEN) == before + 1).await;
    waiting
}

async fn waiting_for(app: &TestApp, id: &str) -> JoinHandle<Answer> {
    let path = format!("/v1/tasks/{id}?wait={LONG_WAIT}");
    waiting(app, asking(app, &path)).await
}

async fn nobody_waits(app: &TestApp) {
    let start = Instant::now();
    until("nobody waits", || app.counter(SEATS_TAKEN) == 0).await;
    assert!(start.elapsed() < TOLD_WITHIN, "the seat came back too late");
}

fn submission_id(task: &Value) -> String {
    let id = task["receiver"]["submission_id"].as_str();
    id.unwrap().to_owned()
}
