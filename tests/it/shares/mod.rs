//! What one API key may take: its limits, its share of what all keys use, and what it may see.

mod isolated;
mod limits;
mod routes;
mod turns;
mod usage;

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::simulator::{Options, Simulator};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};

const SUBMIT: &str = "/v1/images/generations";

/// A key whose secret is its name.
fn key(name: &str, change: impl FnOnce(&mut ApiKey)) -> ApiKey {
    let scopes = [Scope::Submit, Scope::Read];
    let mut key = ApiKey::new(name, KeyDigest::of(name), &scopes);
    change(&mut key);
    key
}

/// A receiver with these keys in front of a simulator. Its clock stands still.
async fn started(keys: Vec<ApiKey>) -> (TestApp, Simulator) {
    let builder = TestApp::builder().with_manual_clock();
    let builder = builder.with(|config| config.internal.api_keys = keys);
    builder.start_with_simulator(Options::default()).await
}

fn body(prompt: &str) -> Value {
    json!({"model": "z-image-turbo", "prompt": prompt})
}

async fn submit(app: &TestApp, key: &str, prompt: &str) -> Answer {
    let request = app.request(Method::POST, SUBMIT).json(&body(prompt));
    send(request.bearer_auth(key)).await
}

async fn get(app: &TestApp, key: &str, path: &str) -> Answer {
    send(app.request(Method::GET, path).bearer_auth(key)).await
}
