//! Apps: each order is one image that is wanted once. An app retries as far as that is safe: with
//! an `Idempotency-Key` after any answer, without one only after an answer that says nothing was
//! accepted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stage::Stage;
use crate::support::described;

const TRIES: usize = 8;
const PAUSE: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(30);

/// The shared notes of all apps.
#[derive(Default)]
pub struct Book {
    /// The result of each order, by prompt.
    pub ends: Mutex<HashMap<String, End>>,
    pub statuses: Mutex<BTreeMap<u16, usize>>,
}

/// An app's final knowledge about its order.
#[derive(Clone, Debug)]
pub enum End {
    /// The task objects that the app received, in order.
    Accepted(Vec<Value>),
    /// EvoLink is known not to have accepted the order.
    Refused,
    Unknown,
}

pub struct Order {
    prompt: String,
    key: Option<String>,
    /// Whether the app repeats the request after it has its answer.
    asks_again: bool,
    /// The URL of each try, in order.
    urls: Vec<String>,
    http: described::Client,
}

impl Order {
    pub fn new(number: usize, stage: &Stage, random: &mut fastrand::Rng) -> Self {
        let urls = (0..=TRIES).map(|_| {
            let app = &stage.apps[random.usize(..stage.apps.len())];
            format!("http://{}/v1/images/generations", app.internal)
        });
        let urls = urls.collect();
        Self {
            prompt: format!("order {number}"),
            key: random.bool().then(|| format!("the-key-of-order-{number}")),
            asks_again: random.bool(),
            urls,
            http: stage.apps[0].http.clone(),
        }
    }

    pub async fn place(self, book: Arc<Book>) {
        let mut end = End::Unknown;
        for number in 0..TRIES {
            let (status, body) = self.ask(number, &book).await;
            end = match status {
                200 => {
                    let mut tasks = vec![body];
                    if self.key.is_some() && self.asks_again {
                        let (status, again) = self.ask(TRIES, &book).await;
                        // A slow machine may answer 503, but never that the task is unknown or
                        // belongs to another app.
                        assert!(matches!(status, 200 | 503), "{status} after a 200: {again}");
                        tasks.extend((status == 200).then_some(again));
                    }
                    end = End::Accepted(tasks);
                    break;
                }
                400 | 402 | 403 | 413 | 429 | 503 => End::Refused,
                // A request under this key is still in progress, so the last known result stays.
                409 => end,
                504 => End::Unknown,
                other => panic!("{other} is no answer to an order: {body}"),
            };
            if self.key.is_none() && matches!(end, End::Unknown) {
                break;
            }
            sleep(PAUSE).await;
        }
        book.ends.lock().unwrap().insert(self.prompt, end);
    }

    async fn ask(&self, number: usize, book: &Book) -> (u16, Value) {
        let mut request = self
            .http
            .post(&self.urls[number])
            .timeout(PATIENCE)
            .json(&json!({"model": "z-image-turbo", "prompt": self.prompt}));
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }
        let answer: Response = request.send().await.expect("an answer to a submit");
        let status = answer.status().as_u16();
        *book.statuses.lock().unwrap().entry(status).or_default() += 1;
        (status, answer.json().await.unwrap_or_default())
    }
}
