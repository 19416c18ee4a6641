//! One task and its representation in EvoLink's API. A query and a callback have the same body.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::plan::{Ending, FileFault, Plan, QueryFault, Results};
use crate::simulator::api::request::Generation;

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    pub generation: Generation,
    /// The requested seed, or a random one if none was requested.
    pub seed: u32,
    pub plan: Plan,
    pub duration: Duration,
    pub started: Instant,
    pub ended: Option<Instant>,
    pub price_milli: u64,
    pub estimated_time_s: u32,
    /// Whether a query already shows the first track of two.
    pub has_first_track: bool,
    pub queries: u32,
    pub file_fetches: u32,
}

const CONTENT_POLICY_MESSAGE: &str = "Content policy violation.\n\nThe request was rejected because it may \
    generate content that violates the content policy.\nPlease adjust your prompt and try again.";

pub(super) fn new_id(created: i64) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let suffix: String = (0..8)
        .map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]))
        .collect();
    format!("task-unified-{created}-{suffix}")
}

impl Task {
    /// The response to the submit, field for field as EvoLink's page shows it.
    pub(super) fn submit_answer(&self) -> Value {
        let kind = self.generation.route.task_type();
        json!({
            "created": self.created,
            "id": self.id,
            "model": self.generation.model,
            "object": format!("{kind}.generation.task"),
            "progress": 0,
            "status": "pending",
            "task_info": {"can_cancel": true, "estimated_time": self.estimated_time_s},
            "type": kind,
            "usage": self.usage(),
        })
    }

    /// The body that a query returns now.
    pub(super) fn body(&self, public_url: &str) -> Value {
        if self.ended.is_some() {
            return self.terminal_body(self.plan.ending, public_url);
        }
        if self.has_first_track {
            return self.body_with_tracks(1, public_url);
        }
        let elapsed = self.started.elapsed().as_millis();
        let percent = elapsed * 100 / self.duration.as_millis().max(1);
        match u8::try_from(percent.min(99)).unwrap_or(99) {
            0..10 => self.running_body("pending", 0),
            progress => self.running_body("processing", progress),
        }
    }

    pub(super) fn running_body(&self, status: &str, progress: u8) -> Value {
        let mut body = self.submit_answer();
        body["status"] = json!(status);
        body["progress"] = json!(progress);
        body
    }

    pub(super) fn terminal_body(&self, ending: Ending, public_url: &str) -> Value {
        let mut body = self.submit_answer();
        body["progress"] = json!(100);
        body["task_info"] = json!({"can_cancel": false});
        match ending {
            Ending::Completed => {
                body["status"] = json!("completed");
                match self.plan.results {
                    Results::OneFile => {
                        body["results"] = json!([self.result_url(public_url, 0)]);
                    }
                    Results::DataAlone => {
                        body["result_data"] = json!({"element_id": self.seed});
                    }
                    Results::Tracks => return self.body_with_tracks(2, public_url),
                }
            }
            Ending::CompletedWithoutResults => body["status"] = json!("completed"),
            Ending::ServiceError => {
                body["status"] = json!("failed");
                body["error"] = json!({
                    "code": "service_error",
                    "message": "The upstream service failed, please try again later",
                    "type": "task_error",
                });
            }
            Ending::ContentPolicy => {
                body["status"] = json!("failed");
                body["error"] = json!({
                    "code": "content_policy_violation",
                    "message": CONTENT_POLICY_MESSAGE,
                    "type": "task_error",
                });
                remove(&mut body, &["created", "type"]);
            }
            Ending::FailedWithoutError => body["status"] = json!("failed"),
            Ending::Cancelled => body["status"] = json!("cancelled"),
            Ending::CanceledWithOneL => body["status"] = json!("canceled"),
            // This is no terminal state, but a query needs some body.
            Ending::Never => return self.running_body("processing", 99),
        }
        body
    }

    /// The body of a completed task with this many tracks.
    pub(super) fn body_with_tracks(&self, count: u32, public_url: &str) -> Value {
        let mut body = self.submit_answer();
        body["progress"] = json!(100);
        body["task_info"] = json!({"can_cancel": false});
        body["status"] = json!("completed");
        let urls: Vec<String> = (0..count)
            .map(|number| self.result_url(public_url, number))
            .collect();
        let tracks = (0..).zip(&urls).map(|(number, url)| {
            json!({
                "result_id": format!("{}-{number}", self.id),
                "duration": 120.5,
                "tags": "quiet",
                "title": "A song",
                "audio_url": url,
            })
        });
        body["result_data"] = tracks.collect();
        body["results"] = json!(urls);
        body
    }

    pub(super) fn query_fault(&self) -> Option<QueryFault> {
        let is_over = self
            .plan
            .query_faults_max
            .is_some_and(|max| self.queries > max);
        self.plan.query_fault.filter(|_| !is_over)
    }

    pub(super) fn file_fault(&self) -> Option<FileFault> {
        let is_over = self
            .plan
            .file_faults_max
            .is_some_and(|max| self.file_fetches > max);
        self.plan.file_fault.filter(|_| !is_over)
    }

    fn result_url(&self, public_url: &str, number: u32) -> String {
        let name = self.generation.route.file_name(number);
        let url = format!("{public_url}/files/{}/{name}", self.id);
        if self.plan.signed_results {
            return format!("{url}?signature={:016x}", fastrand::u64(..));
        }
        url
    }

    fn usage(&self) -> Value {
        json!({
            "billing_rule": "per_call",
            "credits_reserved": credits(self.price_milli),
            "user_group": "default",
        })
    }
}

pub(super) fn remove(body: &mut Value, names: &[&str]) {
    if let Some(fields) = body.as_object_mut() {
        for name in names {
            fields.shift_remove(*name);
        }
    }
}

/// Converts thousandths to fractional credits, which is what EvoLink shows.
pub(super) fn credits(milli: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "an account has far fewer than 2^53 thousandths"
    )]
    let credits = milli as f64 / 1000.0;
    credits
}
