//! The metrics of this process, for `/metrics` in the text format of OpenMetrics. Label values come
//! from closed sets, so that clients cannot create new series.
//!
//! The counters balance at any scrape: callbacks received = recorded + unchanged + duplicate +
//! conflict + quarantined + refused + aborted + those under way.

mod configuration;
mod deliveries;
mod ends;
mod hour_values;
mod http;
mod labels;
mod last_hour;
mod process;
mod refusals;
mod retention;
mod self_test;
mod series;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::clock;
use crate::domain::event::EventType;
use crate::domain::kind::Kind;
use crate::domain::observation::Source;
use crate::domain::result_file::FileState;
use crate::domain::task::State;
use crate::domain::task::confirmation::Doubt;
use configuration::Configuration;
use deliveries::Deliveries;
pub use deliveries::DeliveryEnd;
pub use ends::{CallbackEnd, FetchResult, PollEnd, SubmitEnd, TailReader};
pub use hour_values::{Counts, Latency};
pub use http::known_method;
use labels::{
    Name, OutcomeLabels, ReaderLabel, ReasonLabel, ResultLabel, StateLabel, SubmitLabels,
};
use last_hour::Hours;
pub use last_hour::{HourCounts, HourMinutes};
pub use refusals::{CallbackRefusal, HandshakeFailure};
pub use retention::DeletedKind;
use series::{Calls, Inside, Quarantine, Results, Tasks, Waiting};

/// All metrics of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    tasks: Tasks,
    quarantine: Quarantine,
    refusals: refusals::Refusals,
    self_tests: self_test::SelfTests,
    deliveries: Deliveries,
    results: Results,
    deletions: retention::Deletions,
    calls: Calls,
    waiting: Waiting,
    inside: Inside,
    configuration: Configuration,
    requests: http::Requests,
    registry: Registry,
    /// Its names have no prefix of ours.
    process: Registry,
    hours: Hours,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("evolink_receiver");
        let refusals = refusals::Refusals::register(&mut registry);
        refusals.begin();
        let mut process = Registry::default();
        process.register_collector(Box::new(process::Process));
        let metrics = Self(Arc::new(Series {
            refusals,
            self_tests: self_test::SelfTests::register(&mut registry),
            tasks: Tasks::register(&mut registry),
            quarantine: Quarantine::register(&mut registry),
            deliveries: Deliveries::register(&mut registry),
            results: Results::register(&mut registry),
            deletions: retention::Deletions::register(&mut registry),
            calls: Calls::register(&mut registry),
            waiting: Waiting::register(&mut registry),
            inside: Inside::register(&mut registry),
            configuration: Configuration::register(&mut registry),
            requests: http::Requests::register(&mut registry),
            registry,
            process,
            hours: Hours::new(),
        }));
        metrics.built();
        metrics
    }

    pub fn callback_received(&self) {
        self.0.tasks.received.inc();
    }

    pub fn callback_ended(&self, end: CallbackEnd) {
        count(&self.0.tasks.callbacks, end.as_str());
        self.0.hours.callbacks.count(end.as_str());
    }

    /// `kind` is that of the task, if it is known.
    pub fn event_recorded(
        &self,
        event_type: EventType,
        source: Option<Source>,
        kind: Option<Kind>,
    ) {
        if matches!(
            event_type,
            EventType::Completed | EventType::Failed | EventType::Cancelled
        ) {
            let source = source.map_or("none", <&str>::from);
            let labels = OutcomeLabels {
                r#type: Name(event_type.into_str()),
                source: Name(source),
                kind: Name(kind.map_or("none", <&str>::from)),
            };
            self.0.tasks.outcomes.get_or_create(&labels).inc();
            self.0.hours.outcomes.count(source);
        }
    }

    /// Returns what was counted in the last hour.
    pub fn last_hour(&self) -> HourCounts {
        self.0.hours.counts()
    }

    /// Returns the minutes of the last hour, for plots.
    pub fn last_minutes(&self) -> HourMinutes {
        self.0.hours.minutes()
    }

    /// Records the time from the verified token of a callback to its answer, for the last hour.
    pub fn callback_answered_after(&self, took: Duration) {
        self.0.hours.callback_answered_after(took);
    }

    /// Records how many tasks an operator sees as `name`, for the last hour.
    pub fn tasks_shown(&self, name: &'static str, tasks: u64) {
        self.0.hours.measured(name, tasks);
    }

    /// Sets how many due tasks of the last scan cannot be polled because of their rows.
    pub fn tasks_unreadable(&self, tasks: usize) {
        let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
        self.0.tasks.unreadable.set(tasks);
    }

    pub fn record_restored(&self) {
        self.0.tasks.restored.inc();
    }

    /// Counts bodies that were dropped because their callback URL had too many in quarantine.
    pub fn quarantine_dropped(&self, bodies: u64) {
        self.0.quarantine.dropped.inc_by(bodies);
    }

    /// Counts entries that were deleted to make space for newer ones.
    pub fn quarantine_evicted(&self, entries: u64) {
        self.0.quarantine.evicted.inc_by(entries);
    }

    /// Sets the current content of the quarantine, for all replicas together.
    pub fn quarantine_holds(&self, entries: u64, bytes: u64) {
        let gauge = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.0.quarantine.entries.set(gauge(entries));
        self.0.quarantine.bytes.set(gauge(bytes));
    }

    pub fn replayed(&self, result: &'static str) {
        count(&self.0.quarantine.replays, result);
    }

    pub fn outcome_doubted(&self, reason: Doubt) {
        let reason = Name(reason.into_str());
        self.0
            .tasks
            .doubted
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    pub fn submit_ended(&self, end: SubmitEnd, kind: Kind) {
        let labels = SubmitLabels {
            result: Name(end.into_str()),
            kind: Name(kind.into_str()),
        };
        self.0.calls.submits.get_or_create(&labels).inc();
        self.0.hours.submits.count(end.into_str());
    }

    pub fn submit_retried(&self) {
        self.0.calls.submit_retries.inc();
    }

    /// Sets whether EvoLink's answers that it does not know a task are ignored.
    pub fn unknown_tasks_doubted(&self, doubted: bool) {
        self.0.calls.unknown_tasks_doubted.set(i64::from(doubted));
    }

    /// Sets whether EvoLink fails as a whole, according to the polls.
    pub fn polls_suspended(&self, suspended: bool) {
        self.0.calls.polls_suspended.set(i64::from(suspended));
    }

    /// Sets whether EvoLink rejects our API key.
    pub fn evolink_key_rejected(&self, is_rejected: bool) {
        self.0.calls.key_rejected.set(i64::from(is_rejected));
    }

    /// Counts a new waiting query or event stream.
    pub fn seat_taken(&self) {
        self.0.waiting.taken.inc();
    }

    pub fn seat_given_back(&self) {
        self.0.waiting.taken.dec();
    }

    /// Counts a waiting query or event stream that was refused, because there were too many.
    pub fn seat_refused(&self) {
        self.0.waiting.refused.inc();
    }

    /// Sets for how long `reader` has not been at the end of the log.
    pub fn tail_behind(&self, reader: TailReader, time: Duration) {
        let reader = Name(reader.into_str());
        let behind = self
            .0
            .waiting
            .tail_behind
            .get_or_create(&ReaderLabel { reader });
        behind.set(time.as_secs_f64());
    }

    /// Counts events that are left out of streams, because their rows cannot be read.
    pub fn events_unreadable(&self, events: u32) {
        self.0.waiting.events_unreadable.inc_by(events.into());
    }

    pub fn fetch_ended(&self, result: FetchResult) {
        count(&self.0.results.fetches, result.into_str());
    }

    pub fn bytes_archived(&self, bytes: u64) {
        self.0.results.bytes_archived.inc_by(bytes);
    }

    /// Sets the number of result files in `state`.
    pub fn files_counted(&self, state: FileState, files: i64) {
        let state = Name(state.into_str());
        let labels = StateLabel { state };
        self.0.results.files.get_or_create(&labels).set(files);
    }

    /// Sets the free space where result files are kept.
    pub fn archive_free_bytes(&self, bytes: u64) {
        let gauge = self.0.results.free_bytes.get_or_create(&[]);
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Sets whether archiving pauses for lack of space.
    pub fn archive_paused(&self, is_paused: bool) {
        self.0.results.paused.set(i64::from(is_paused));
    }

    /// Sets the number of tasks in `state`.
    pub fn tasks_counted(&self, state: State, tasks: i64) {
        let state = Name(state.into_str());
        let labels = StateLabel { state };
        self.0.tasks.unfinished.get_or_create(&labels).set(tasks);
    }

    pub fn poll_ended(&self, end: PollEnd) {
        count(&self.0.calls.polls, end.into_str());
    }

    /// Records the time from when a delivery was due until its first attempt was answered 2xx.
    pub fn delivered_after(&self, took: Duration) {
        self.0.calls.delivery_seconds.observe(took.as_secs_f64());
    }

    /// Records a committed transaction of the recorder.
    pub fn batch_recorded(&self, entries: usize, took: Duration) {
        self.0.inside.batches.inc();
        self.0.inside.entries.inc_by(entries as u64);
        self.0.inside.commit_seconds.observe(took.as_secs_f64());
    }

    /// Sets the free space on the disk of a SQLite store.
    pub fn store_free_bytes(&self, bytes: u64) {
        let gauge = self.0.inside.free_bytes.get_or_create(&[]);
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Sets whether commits of the recorder survive a power failure of the database server.
    pub fn store_durable(&self, is_durable: bool) {
        let gauge = self.0.inside.durable.get_or_create(&[]);
        gauge.set(i64::from(is_durable));
    }

    /// Returns all metrics in the text format of OpenMetrics.
    pub fn render(&self) -> String {
        self.0
            .inside
            .clock_difference
            .set(clock::system_ahead_seconds());
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.0.registry)
            .and_then(|()| encode_registry(&mut text, &self.0.process))
            .and_then(|()| encode_eof(&mut text));
        written.expect("a String takes any text");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn count(family: &Family<ResultLabel, Counter>, result: &'static str) {
    family
        .get_or_create(&ResultLabel {
            result: Name(result),
        })
        .inc();
}
