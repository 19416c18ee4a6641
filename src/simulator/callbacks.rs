//! The life of one task after its submit: it runs, it ends, its callbacks are sent.
//!
//! The rules are EvoLink's. An attempt times out after ten seconds, and retries follow after one,
//! two and four seconds. Any 2xx is a success. Redirects are not followed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use http::header;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::api::payload;
use super::options::Options;
use super::plan::{Ending, Stages, When};
use super::records::CallbackAttempt;
use super::state::Shared;
use super::task::Task;
use super::{addresses, now};
use crate::simulator::api::payload::Payload;

/// Runs the task to its end. Cancels `first_answer` when the first attempt of the first callback
/// has ended, or when there will be none.
pub(super) async fn live(shared: Arc<Shared>, task: Box<Task>, first_answer: CancellationToken) {
    let stop = shared.stop.clone();
    let _no_more = first_answer.clone().drop_guard();
    tokio::select! {
        () = stop.cancelled() => {}
        () = run_and_report(&shared, &task, first_answer) => {}
    }
}

async fn run_and_report(shared: &Shared, task: &Task, first_answer: CancellationToken) {
    let mut sender = Sender {
        shared,
        task,
        first_answer,
        deliveries: 0,
    };
    if task.plan.ending == Ending::Never {
        return sender.run().await;
    }
    let when = task.plan.callbacks.when;
    if when != When::BeforeTheSubmitAnswer {
        sender.run().await;
    }
    shared.end_task(&task.id);
    match when {
        When::Never => return,
        When::AfterTheEnd(delay) => sleep(delay).await,
        When::AtTheEnd | When::BeforeTheSubmitAnswer => {}
    }
    sender.report().await;
}

struct Sender<'a> {
    shared: &'a Shared,
    task: &'a Task,
    first_answer: CancellationToken,
    deliveries: u32,
}

impl Sender<'_> {
    async fn run(&mut self) {
        match self.task.plan.callbacks.stages {
            Stages::Final => return sleep(self.task.duration).await,
            Stages::Music => return self.run_in_stages_of_music().await,
            Stages::Progress => {}
        }
        for progress in [33, 66] {
            sleep(self.task.duration / 3).await;
            let body = self.task.running_body("processing", progress);
            self.deliver(Payload::json(&body)).await;
        }
        sleep(self.task.duration / 3).await;
    }

    /// The stages of music: a text, the first track. The last one is the end of the task.
    async fn run_in_stages_of_music(&mut self) {
        sleep(self.task.duration / 3).await;
        let body = self.task.running_body("processing", 33);
        self.deliver(Payload::json(&body)).await;
        sleep(self.task.duration / 3).await;
        let url = &self.shared.public_url;
        let body = self.task.body_with_tracks(1, url);
        let show = |task: &mut Task| task.has_first_track = true;
        self.shared.with_task(&self.task.id, show);
        self.deliver(Payload::json(&body)).await;
        sleep(self.task.duration / 3).await;
    }

    async fn report(&mut self) {
        let plan = &self.task.plan.callbacks;
        let url = &self.shared.public_url;
        let payload = || {
            let body = self.task.terminal_body(self.task.plan.ending, url);
            payload::shaped(&body, plan.form)
        };
        let copies = 1 + plan.parallel_copies;
        self.deliver_copies(&payload(), copies).await;
        for _ in 0..plan.repeats {
            self.deliver(payload()).await;
        }
        if plan.reordered {
            let body = self.task.running_body("processing", 50);
            self.deliver(Payload::json(&body)).await;
        }
        if plan.conflicting {
            let other = match self.task.plan.ending {
                Ending::Completed | Ending::CompletedWithoutResults => Ending::ServiceError,
                _ => Ending::Completed,
            };
            let body = self.task.terminal_body(other, url);
            self.deliver(Payload::json(&body)).await;
        }
    }

    async fn deliver(&mut self, payload: Payload) {
        self.deliver_copies(&payload, 1).await;
    }

    async fn deliver_copies(&mut self, payload: &Payload, copies: u32) {
        let first = self.deliveries + 1;
        self.deliveries += copies;
        let this = &*self;
        join_all((first..first + copies).map(|n| this.deliver_one(payload, n))).await;
    }

    async fn deliver_one(&self, payload: &Payload, delivery: u32) {
        let Some(url) = &self.task.generation.callback_url else {
            return;
        };
        let waits =
            std::iter::once(Duration::ZERO).chain(self.shared.options.retry_delays.iter().copied());
        for (attempt, wait) in (1..).zip(waits) {
            sleep(wait).await;
            let started = Instant::now();
            let at = now();
            let result = self.attempt(url, payload).await;
            let seen = CallbackAttempt {
                at,
                task_id: self.task.id.clone(),
                delivery,
                attempt,
                status: result.as_ref().ok().copied(),
                error: result.err(),
                elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            };
            let is_acknowledged = seen.is_acknowledged();
            self.shared.record_attempt(seen);
            self.first_answer.cancel();
            if is_acknowledged {
                return;
            }
        }
        self.shared.remembered().stats.callbacks_given_up += 1;
    }

    /// Returns the status of the response, or the reason why there was none.
    async fn attempt(&self, url: &url::Url, payload: &Payload) -> Result<u16, String> {
        if !self.shared.options.allow_private_callbacks && addresses::is_internal(url).await {
            return Err("the callback address has become an internal one".to_owned());
        }
        let mut request = self
            .shared
            .client
            .post(url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(payload.body.clone());
        if let Some(encoding) = payload.content_encoding {
            request = request.header(header::CONTENT_ENCODING, encoding);
        }
        let response = request.send().await;
        response
            .map(|response| response.status().as_u16())
            .map_err(|error| chain(&error.without_url()))
    }
}

/// Formats an error with its causes on one line, without the URL, which contains the receiver's
/// token.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub(super) fn client(options: &Options) -> anyhow::Result<reqwest::Client> {
    let mut pem = options.callback_ca_pem.clone().unwrap_or_default();
    if let Some(file) = &options.callback_ca_file {
        let bytes = std::fs::read(file)
            .with_context(|| format!("could not read the certificates of {}", file.display()))?;
        pem.push(b'\n');
        pem.extend(bytes);
    }
    let roots = reqwest::Certificate::from_pem_bundle(&pem)
        .context("could not parse the certificates for callbacks")?;
    reqwest::Client::builder()
        .user_agent(concat!("evolink-simulator/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .https_only(true)
        .timeout(options.callback_timeout)
        .pool_idle_timeout(Duration::from_secs(5))
        .tls_certs_merge(roots)
        .build()
        .context("could not set up the client for callbacks")
}
