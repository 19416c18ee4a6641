//! What is counted, for `/metrics` in Prometheus' text format. Labels come from closed sets, so that nobody outside can
//! make the series grow.
//!
//! The counters balance at any scrape: callbacks received = recorded + unchanged + duplicate + conflict + quarantined +
//! refused + aborted + those under way.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock;
use crate::domain::confirmation::Doubt;
use crate::domain::event::EventType;
use crate::domain::observation::Source;
use crate::domain::task::{State, Verdict};

/// All counters of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    registry: Registry,
    received: Counter,
    callbacks: Family<ResultLabel, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    restored: Counter,
    quarantine: Quarantine,
    doubted: Family<ReasonLabel, Counter>,
    submits: Family<ResultLabel, Counter>,
    submit_retries: Counter,
    polls: Family<ResultLabel, Counter>,
    polls_suspended: Gauge,
    tasks: Family<StateLabel, Gauge>,
    batches: Counter,
    entries: Counter,
    commit_seconds: Histogram,
    clock_difference: Gauge,
    /// A family without labels: without a file there is no series.
    free_bytes: Family<[(String, String); 0], Gauge>,
}

#[derive(Debug, Default)]
struct Quarantine {
    entries: Gauge,
    bytes: Gauge,
    dropped: Counter,
    evicted: Counter,
    replays: Family<ResultLabel, Counter>,
}

/// From a fast disk to a server that is given up.
const COMMIT_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0, 8.0,
];

/// How a callback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallbackEnd {
    Seen(Verdict),
    Quarantined,
    /// Answered with an error, nothing written.
    Refused,
    /// The client went away before it was answered.
    Aborted,
}

/// How a submit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubmitEnd {
    Accepted,
    Refused,
    Unreachable,
    /// Not sent: more than `evolink.submits_per_second`.
    Held,
    Unknown,
    Replayed,
    Invalid,
    /// The store is nearly full.
    NoRoom,
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PollEnd {
    Seen,
    Gone,
    Throttled,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    r#type: Name,
    source: Name,
}

/// A label value: always one of our own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name(&'static str);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

impl Counters {
    /// What is not about tasks.
    fn register_inside(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "recorder_batches",
            "Transactions of the recorder that were committed",
            self.batches.clone(),
        );
        registry.register(
            "recorder_entries",
            "What was recorded in them",
            self.entries.clone(),
        );
        registry.register(
            "recorder_commit_seconds",
            "From the beginning of a transaction to the end of its commit",
            self.commit_seconds.clone(),
        );
        registry.register(
            "clock_difference_seconds",
            "By how much the system's clock is ahead of this process's time",
            self.clock_difference.clone(),
        );
        registry.register(
            "store_free_bytes",
            "Room that is left on the disk of a SQLite store",
            self.free_bytes.clone(),
        );
    }

    /// What we ask of EvoLink, and what is left to be asked.
    fn register_calls(&mut self) {
        let registry = &mut self.registry;
        registry.register("submits", "Submits by how they ended", self.submits.clone());
        registry.register(
            "submit_retries",
            "Submits tried again because EvoLink was not reached",
            self.submit_retries.clone(),
        );
        registry.register(
            "polls",
            "Questions to EvoLink about a task, by answer",
            self.polls.clone(),
        );
        registry.register(
            "polls_suspended",
            "1 while EvoLink answers no poll and is asked only now and then",
            self.polls_suspended.clone(),
        );
        registry.register(
            "tasks",
            "Tasks that somebody should look at, at most 10000 of a state",
            self.tasks.clone(),
        );
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut counters = Counters {
            registry: Registry::with_prefix("evolink_receiver"),
            received: Counter::default(),
            callbacks: Family::default(),
            outcomes: Family::default(),
            restored: Counter::default(),
            quarantine: Quarantine::default(),
            doubted: Family::default(),
            submits: Family::default(),
            submit_retries: Counter::default(),
            polls: Family::default(),
            polls_suspended: Gauge::default(),
            tasks: Family::default(),
            batches: Counter::default(),
            entries: Counter::default(),
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            clock_difference: Gauge::default(),
            free_bytes: Family::default(),
        };
        let registry = &mut counters.registry;
        registry.register(
            "callbacks_received",
            "Callbacks that began",
            counters.received.clone(),
        );
        registry.register(
            "callbacks",
            "Callbacks by how they ended",
            counters.callbacks.clone(),
        );
        registry.register(
            "outcomes",
            "Outcomes recorded, by what found them first",
            counters.outcomes.clone(),
        );
        registry.register(
            "restored",
            "Records made anew or revived by a callback",
            counters.restored.clone(),
        );
        register_quarantine(registry, &counters.quarantine);
        registry.register(
            "outcomes_doubted",
            "Outcomes told by a callback that EvoLink is asked about before they are believed, by reason",
            counters.doubted.clone(),
        );
        counters.register_calls();
        counters.register_inside();
        Self(Arc::new(counters))
    }

    pub fn callback_received(&self) {
        self.0.received.inc();
    }

    pub fn callback_ended(&self, end: CallbackEnd) {
        let result = match end {
            CallbackEnd::Seen(verdict) => verdict.as_str(),
            CallbackEnd::Quarantined => "quarantined",
            CallbackEnd::Refused => "refused",
            CallbackEnd::Aborted => "aborted",
        };
        count(&self.0.callbacks, result);
    }

    pub fn event_recorded(&self, event_type: EventType, source: Option<Source>) {
        if matches!(
            event_type,
            EventType::Completed | EventType::Failed | EventType::Cancelled
        ) {
            let labels = OutcomeLabels {
                r#type: Name(event_type.as_str()),
                source: Name(source.map_or("none", Source::as_str)),
            };
            self.0.outcomes.get_or_create(&labels).inc();
        }
    }

    pub fn record_restored(&self) {
        self.0.restored.inc();
    }

    /// Bodies that were beyond the bounds of their callback URL.
    pub fn quarantine_dropped(&self, bodies: u64) {
        self.0.quarantine.dropped.inc_by(bodies);
    }

    /// Entries that made room for newer ones.
    pub fn quarantine_evicted(&self, entries: u64) {
        self.0.quarantine.evicted.inc_by(entries);
    }

    /// What is in quarantine now, in all replicas together.
    pub fn quarantine_holds(&self, entries: u64, bytes: u64) {
        let gauge = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.0.quarantine.entries.set(gauge(entries));
        self.0.quarantine.bytes.set(gauge(bytes));
    }

    pub fn replayed(&self, result: &'static str) {
        count(&self.0.quarantine.replays, result);
    }

    pub fn outcome_doubted(&self, reason: Doubt) {
        let reason = Name(reason.as_str());
        self.0.doubted.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub fn submit_ended(&self, end: SubmitEnd) {
        count(
            &self.0.submits,
            match end {
                SubmitEnd::Accepted => "accepted",
                SubmitEnd::Refused => "refused",
                SubmitEnd::Unreachable => "unreachable",
                SubmitEnd::Held => "held",
                SubmitEnd::Unknown => "unknown",
                SubmitEnd::Replayed => "replayed",
                SubmitEnd::Invalid => "invalid",
                SubmitEnd::NoRoom => "no_room",
            },
        );
    }

    pub fn submit_retried(&self) {
        self.0.submit_retries.inc();
    }

    /// Whether EvoLink fails as a whole, as far as polls tell.
    pub fn polls_suspended(&self, suspended: bool) {
        self.0.polls_suspended.set(i64::from(suspended));
    }

    /// There are so many tasks in `state`.
    pub fn tasks_counted(&self, state: State, tasks: i64) {
        let state = Name(state.as_str());
        let labels = StateLabel { state };
        self.0.tasks.get_or_create(&labels).set(tasks);
    }

    pub fn poll_ended(&self, end: PollEnd) {
        count(
            &self.0.polls,
            match end {
                PollEnd::Seen => "seen",
                PollEnd::Gone => "gone",
                PollEnd::Throttled => "throttled",
                PollEnd::Failed => "failed",
            },
        );
    }

    /// A transaction of the recorder was committed.
    pub fn batch_recorded(&self, entries: usize, took: Duration) {
        self.0.batches.inc();
        self.0.entries.inc_by(entries as u64);
        self.0.commit_seconds.observe(took.as_secs_f64());
    }

    /// Of a SQLite store.
    pub fn store_free_bytes(&self, bytes: u64) {
        let gauge = self.0.free_bytes.get_or_create(&[]);
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Everything in the text format of OpenMetrics.
    pub fn render(&self) -> String {
        self.0.clock_difference.set(clock::system_ahead_seconds());
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("a String takes any text");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn register_quarantine(registry: &mut Registry, quarantine: &Quarantine) {
    registry.register(
        "quarantine_entries",
        "Bodies in quarantine",
        quarantine.entries.clone(),
    );
    registry.register(
        "quarantine_bytes",
        "Bytes of them and their headers",
        quarantine.bytes.clone(),
    );
    registry.register(
        "quarantine_dropped",
        "Bodies that were not kept: too many of one callback URL",
        quarantine.dropped.clone(),
    );
    registry.register(
        "quarantine_evicted",
        "Bodies that made room for newer ones",
        quarantine.evicted.clone(),
    );
    registry.register(
        "quarantine_replays",
        "Replays by result",
        quarantine.replays.clone(),
    );
}

fn count(family: &Family<ResultLabel, Counter>, result: &'static str) {
    family
        .get_or_create(&ResultLabel {
            result: Name(result),
        })
        .inc();
}
