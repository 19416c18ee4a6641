//! The simulator plays EvoLink as its documents describe it, and misbehaves as its table of magic
//! prompts says.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes helpers of tests for production code"
)]

use std::time::Duration;

use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};

mod api;
mod callbacks;
mod catcher;
mod files;
mod magic;
mod magic_callbacks;

use catcher::{Catcher, Caught};

/// Time in which a further callback would arrive: what follows a delivery starts at once.
const FOR_ANOTHER: Duration = Duration::from_millis(150);

/// A simulator that sends its callbacks to a catcher, with short delays.
struct Stage {
    simulator: Simulator,
    catcher: Catcher,
    client: reqwest::Client,
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Stage {
    async fn start() -> Self {
        Self::with(Catcher::start().await, |_| {}).await
    }

    async fn with(catcher: Catcher, adjust: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            allow_private_callbacks: true,
            callback_ca_pem: Some(catcher.ca_pem.clone()),
            task_duration: Duration::from_millis(30),
            retry_delays: [10, 20, 40].map(Duration::from_millis).to_vec(),
            ..Options::default()
        };
        adjust(&mut options);
        Self {
            simulator: Simulator::start(options).await.unwrap(),
            catcher,
            client: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
        }
    }

    fn request(&self, prompt: &str) -> Value {
        json!({"model": "z-image-turbo", "prompt": prompt, "callback_url": self.catcher.url()})
    }

    fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/v1/images/generations", self.simulator.base_url());
        self.client.post(url).bearer_auth("key").json(body)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    async fn submit(&self, prompt: &str) -> Answer {
        self.send(self.post(&self.request(prompt))).await
    }

    /// Submits a task that is accepted, and returns its id.
    async fn task(&self, prompt: &str) -> String {
        let answer = self.submit(prompt).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.simulator.base_url());
        self.send(self.client.get(url).bearer_auth("key")).await
    }

    async fn query(&self, id: &str) -> Answer {
        self.get(&format!("/v1/tasks/{id}")).await
    }

    /// Waits for at least `count` callbacks.
    async fn caught(&self, count: usize) -> Vec<Caught> {
        eventually(|| self.catcher.caught().len() >= count).await;
        self.catcher.caught()
    }

    /// Waits until no task runs and no callback is being sent. Returns all callbacks.
    async fn settled(&self) -> Vec<Caught> {
        eventually(|| self.simulator.stats().tasks_running == 0).await;
        // A delivery ends when it is acknowledged or given up.
        tokio::time::sleep(FOR_ANOTHER).await;
        self.catcher.caught()
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn code(&self) -> Value {
        self.json()["error"]["code"].clone()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Waits up to twenty seconds, for a busy machine. A passing test needs only milliseconds.
async fn eventually(mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain");
}
