//! Deliveries of outcomes: to each endpoint that wants them, signed, at least once, and independent
//! of other endpoints.

mod answers;
mod backlog;
mod clocks;
mod contract;
mod gone;
mod hostile;
pub mod kill;
mod own;
mod retries;
mod signatures;
mod silence;
mod stop;
mod stories;

use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::deliveries::app::delivering;
use crate::support::deliveries::endpoint::Endpoint;

/// A receiver that delivers all outcomes to each of `endpoints`.
fn builder(endpoints: &[(&str, &str)]) -> TestAppBuilder {
    delivering(TestApp::builder(), endpoints)
}

async fn start(endpoint: &Endpoint) -> TestApp {
    builder(&[("billing", &endpoint.url())]).start().await
}

/// The task object exactly as the API returns it.
async fn task_object(app: &TestApp, id: &str) -> String {
    let request = app.request(reqwest::Method::GET, &format!("/v1/tasks/{id}"));
    request.send().await.unwrap().text().await.unwrap()
}
