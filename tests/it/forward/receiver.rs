//! A receiver that delivers to some endpoints, and its tasks.

use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::deliveries::app::delivering;
use crate::support::deliveries::endpoint::Endpoint;

/// A receiver that delivers all outcomes to each of `endpoints`.
pub fn builder(endpoints: &[(&str, &str)]) -> TestAppBuilder {
    delivering(TestApp::builder(), endpoints)
}

pub async fn start(endpoint: &Endpoint) -> TestApp {
    builder(&[("billing", &endpoint.url())]).start().await
}

/// The task object exactly as the API returns it.
pub async fn task_object(app: &TestApp, id: &str) -> String {
    let request = app.request(reqwest::Method::GET, &format!("/v1/tasks/{id}"));
    request.send().await.unwrap().text().await.unwrap()
}
