//! All series: each metric with its name, its help text and its labels.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::deliveries;
use super::deliveries::Deliveries;
use super::labels::{OutcomeLabels, ReaderLabel, ReasonLabel, ResultLabel, StateLabel};

#[derive(Debug)]
pub struct Counters {
    pub registry: Registry,
    pub received: Counter,
    pub callbacks: Family<ResultLabel, Counter>,
    pub outcomes: Family<OutcomeLabels, Counter>,
    pub restored: Counter,
    pub quarantine: Quarantine,
    pub deliveries: Deliveries,
    pub fetches: Family<ResultLabel, Counter>,
    pub bytes_archived: Counter,
    pub result_files: Family<StateLabel, Gauge>,
    pub archive_paused: Gauge,
    pub doubted: Family<ReasonLabel, Counter>,
    pub submits: Family<ResultLabel, Counter>,
    pub submit_retries: Counter,
    pub polls: Family<ResultLabel, Counter>,
    pub polls_suspended: Gauge,
    pub evolink_key_rejected: Gauge,
    pub unknown_tasks_doubted: Gauge,
    pub seats_taken: Gauge,
    pub seats_refused: Counter,
    pub tail_behind: Family<ReaderLabel, Gauge<f64, AtomicU64>>,
    pub events_unreadable: Counter,
    pub tasks: Family<StateLabel, Gauge>,
    pub delivery_seconds: Histogram,
    pub batches: Counter,
    pub entries: Counter,
    pub commit_seconds: Histogram,
    pub clock_difference: Gauge,
    /// A family without labels, so that there is no series if the store has no file.
    pub free_bytes: Family<[(String, String); 0], Gauge>,
    pub durable: Family<[(String, String); 0], Gauge>,
}

#[derive(Debug, Default)]
pub struct Quarantine {
    pub entries: Gauge,
    pub bytes: Gauge,
    pub dropped: Counter,
    pub evicted: Counter,
    pub replays: Family<ResultLabel, Counter>,
}

/// Buckets from a fast disk to a server that does not respond.
const COMMIT_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0, 8.0,
];

/// Buckets from an endpoint on the same machine to one that does not respond.
const DELIVERY_SECONDS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0,
];

impl Counters {
    pub fn new() -> Self {
        let mut counters = Counters {
            registry: Registry::with_prefix("evolink_receiver"),
            received: Counter::default(),
            callbacks: Family::default(),
            outcomes: Family::default(),
            restored: Counter::default(),
            quarantine: Quarantine::default(),
            deliveries: Deliveries::default(),
            fetches: Family::default(),
            bytes_archived: Counter::default(),
            result_files: Family::default(),
            archive_paused: Gauge::default(),
            doubted: Family::default(),
            submits: Family::default(),
            submit_retries: Counter::default(),
            polls: Family::default(),
            polls_suspended: Gauge::default(),
            evolink_key_rejected: Gauge::default(),
            unknown_tasks_doubted: Gauge::default(),
            seats_taken: Gauge::default(),
            seats_refused: Counter::default(),
            tail_behind: Family::default(),
            events_unreadable: Counter::default(),
            tasks: Family::default(),
            delivery_seconds: Histogram::new(DELIVERY_SECONDS),
            batches: Counter::default(),
            entries: Counter::default(),
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            clock_difference: Gauge::default(),
            free_bytes: Family::default(),
            durable: Family::default(),
        };
        counters.register_outcomes();
        counters.register_calls();
        counters.register_archive();
        counters.register_seats();
        counters.register_inside();
        counters
    }

    /// Registers the metrics of callbacks and outcomes.
    fn register_outcomes(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "callbacks_received",
            "Callbacks that began",
            self.received.clone(),
        );
        registry.register(
            "callbacks",
            "Callbacks by how they ended",
            self.callbacks.clone(),
        );
        registry.register(
            "outcomes",
            "Outcomes recorded, by what found them first",
            self.outcomes.clone(),
        );
        registry.register(
            "restored",
            "Records that a callback created again or revived",
            self.restored.clone(),
        );
        register_quarantine(registry, &self.quarantine);
        deliveries::register(registry, &self.deliveries);
        registry.register(
            "outcomes_doubted",
            "Outcomes that EvoLink must confirm before they are published, by reason",
            self.doubted.clone(),
        );
    }

    /// Registers the metrics of result files.
    fn register_archive(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "result_fetches",
            "Fetches of result files by how they ended",
            self.fetches.clone(),
        );
        registry.register(
            "results_archived_bytes",
            "Bytes of the result files that were archived",
            self.bytes_archived.clone(),
        );
        registry.register(
            "results",
            "Result files that are to be fetched or were given up, up to 10,000 each",
            self.result_files.clone(),
        );
        registry.register(
            "archive_paused",
            "1 while nothing is fetched, because the archive has less free space than archive.min_free",
            self.archive_paused.clone(),
        );
    }

    /// Registers the metrics of waiting queries and event streams.
    fn register_seats(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "seats_taken",
            "Waiting queries and event streams now",
            self.seats_taken.clone(),
        );
        registry.register(
            "seats_refused",
            "Waiting queries and event streams that were refused, because there were too many",
            self.seats_refused.clone(),
        );
        registry.register(
            "tail_behind_seconds",
            "For how long the event log has not been read to its end, by reader",
            self.tail_behind.clone(),
        );
        registry.register(
            "events_unreadable",
            "Events left out of streams, because their rows hold impossible values",
            self.events_unreadable.clone(),
        );
    }

    /// Registers the metrics that are not about tasks.
    fn register_inside(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "recorder_batches",
            "Transactions of the recorder that were committed",
            self.batches.clone(),
        );
        registry.register(
            "recorder_entries",
            "Entries that the recorder committed",
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
            "Free space on the disk of a SQLite store",
            self.free_bytes.clone(),
        );
        registry.register(
            "store_durable",
            "1 if what is committed survives a power cut of the database server, 0 if fsync or full_page_writes is off",
            self.durable.clone(),
        );
    }

    /// Registers the metrics of calls to EvoLink, of delivery times, and of tasks that need
    /// attention.
    fn register_calls(&mut self) {
        let registry = &mut self.registry;
        registry.register("submits", "Submits by how they ended", self.submits.clone());
        registry.register(
            "submit_retries",
            "Submits tried again because EvoLink was not reached",
            self.submit_retries.clone(),
        );
        registry.register("polls", "Polls of EvoLink, by result", self.polls.clone());
        registry.register(
            "polls_suspended",
            "1 while EvoLink answers no poll and is only probed",
            self.polls_suspended.clone(),
        );
        registry.register(
            "evolink_key_rejected",
            "1 while EvoLink rejects our API key",
            self.evolink_key_rejected.clone(),
        );
        registry.register(
            "unknown_tasks_doubted",
            "1 while EvoLink knows none of several tasks and its answers are ignored",
            self.unknown_tasks_doubted.clone(),
        );
        registry.register(
            "delivery_seconds",
            "From an outcome being recorded to its delivery, of those that the first attempt delivered",
            self.delivery_seconds.clone(),
        );
        registry.register(
            "tasks",
            "Tasks that are submit_unknown or unresolved, at most 10000 of each state",
            self.tasks.clone(),
        );
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
        "Bytes in quarantine: bodies and headers",
        quarantine.bytes.clone(),
    );
    registry.register(
        "quarantine_dropped",
        "Bodies that were not kept: too many of one callback URL",
        quarantine.dropped.clone(),
    );
    registry.register(
        "quarantine_evicted",
        "Entries deleted from quarantine to make space for newer ones",
        quarantine.evicted.clone(),
    );
    registry.register(
        "quarantine_replays",
        "Replays by result",
        quarantine.replays.clone(),
    );
}
