//! Apps: each order is one image that somebody wants once. They come again as far as that is safe: under an
//! `Idempotency-Key` whatever happened, without one only after an answer that says that nothing was accepted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stage::Stage;

const TRIES: usize = 8;
const PAUSE: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(30);

/// What all apps know together.
#[derive(Default)]
pub struct Book {
    /// By prompt.
    pub ends: Mutex<HashMap<String, End>>,
    pub statuses: Mutex<BTreeMap<u16, usize>>,
}

/// What an app thinks of its order in the end.
#[derive(Clone, Debug)]
pub enum End {
    /// The task objects that it was given, one after the other.
    Accepted(Vec<Value>),
    /// Known not to have been accepted.
    Refused,
    Unknown,
}

pub struct Order {
    prompt: String,
    key: Option<String>,
    /// Asks once more when it has its answer.
    asks_again: bool,
    /// Where each try goes.
    urls: Vec<String>,
    http: reqwest::Client,
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
                        // 503 where the machine is too slow; never that it is not known, or another's.
                        assert!(matches!(status, 200 | 503), "{status} after a 200: {again}");
                        tasks.extend((status == 200).then_some(again));
                    }
                    end = End::Accepted(tasks);
                    break;
                }
                400 | 402 | 403 | 413 | 429 | 503 => End::Refused,
                // The first is under way still; of it, 504 is the last that one knows.
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
