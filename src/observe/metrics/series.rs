//! All series except those of deliveries: each metric with its type, its name and its help text.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{
    OutcomeLabels, ReaderLabel, ReasonLabel, ResultLabel, StateLabel, SubmitLabels,
};

/// Declares a struct of metrics: `field: type = name, help;`. A type without a default has its
/// first value after the help text. `register` creates the metrics and registers them.
macro_rules! metrics {
    ($(#[$about:meta])* pub struct $struct:ident {
        $($field:ident: $type:ty = $name:literal, $help:literal $(, $new:expr)?;)*
    }) => {
        $(#[$about])*
        #[derive(Debug)]
        pub struct $struct {
            $(pub $field: $type,)*
        }

        impl $struct {
            pub fn register(registry: &mut Registry) -> Self {
                $(
                    let $field = metrics!(@new $type $(, $new)?);
                    registry.register($name, $help, $field.clone());
                )*
                Self { $($field),* }
            }
        }
    };
    (@new $type:ty) => { <$type>::default() };
    (@new $type:ty, $new:expr) => { $new };
}
pub(super) use metrics;

/// A gauge without labels that has no series until it is set.
pub(super) type Unset = Family<[(String, String); 0], Gauge>;

/// Buckets from a fast disk to a server that does not respond.
const COMMIT_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0, 8.0,
];

/// Buckets from an endpoint on the same machine to one that does not respond.
const DELIVERY_SECONDS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0,
];

metrics! {
    /// Callbacks, outcomes and tasks.
    pub struct Tasks {
        received: Counter = "callbacks_received", "Callbacks that began";
        callbacks: Family<ResultLabel, Counter> = "callbacks", "Callbacks by how they ended";
        outcomes: Family<OutcomeLabels, Counter> = "outcomes",
            "Outcomes recorded, by what found them first, and by the kind of the task";
        restored: Counter = "restored", "Records that a callback created again or revived";
        doubted: Family<ReasonLabel, Counter> = "outcomes_doubted",
            "Outcomes that EvoLink must confirm before they are published, by reason";
        unfinished: Family<StateLabel, Gauge> = "tasks",
            "Tasks that are submit_unknown or unresolved, at most 10000 of each state";
        unreadable: Gauge = "tasks_unreadable",
            "Due tasks that cannot be polled, because their rows hold impossible values";
    }
}

metrics! {
    pub struct Quarantine {
        entries: Gauge = "quarantine_entries", "Bodies in quarantine";
        bytes: Gauge = "quarantine_bytes", "Bytes in quarantine: bodies and headers";
        dropped: Counter = "quarantine_dropped",
            "Bodies that were not kept: too many of one callback URL";
        evicted: Counter = "quarantine_evicted",
            "Entries deleted from quarantine to make space for newer ones";
        replays: Family<ResultLabel, Counter> = "quarantine_replays", "Replays by result";
    }
}

metrics! {
    /// Calls to EvoLink, and the time that deliveries take.
    pub struct Calls {
        submits: Family<SubmitLabels, Counter> = "submits",
            "Submits by how they ended, and by the kind of the task";
        submit_retries: Counter = "submit_retries",
            "Submits tried again because EvoLink was not reached";
        polls: Family<ResultLabel, Counter> = "polls", "Polls of EvoLink, by result";
        polls_suspended: Gauge = "polls_suspended",
            "1 while EvoLink answers no poll and is only probed";
        key_rejected: Gauge = "evolink_key_rejected", "1 while EvoLink rejects our API key";
        unknown_tasks_doubted: Gauge = "unknown_tasks_doubted",
            "1 while EvoLink knows none of several tasks and its answers are ignored";
        delivery_seconds: Histogram = "delivery_seconds",
            "From an outcome being recorded to its delivery, of those that the first attempt delivered",
            Histogram::new(DELIVERY_SECONDS);
    }
}

metrics! {
    /// Result files.
    pub struct Results {
        fetches: Family<ResultLabel, Counter> = "result_fetches",
            "Fetches of result files by how they ended";
        bytes_archived: Counter = "results_archived_bytes",
            "Bytes of the result files that were archived";
        files: Family<StateLabel, Gauge> = "results",
            "Result files that are pending or failed, at most 10000 of each state";
        free_bytes: Unset = "archive_free_bytes",
            "Free space on the disk of an archive in a folder";
        paused: Gauge = "archive_paused",
            "1 while nothing is fetched, because the archive has less free space than archive.min_free";
    }
}

metrics! {
    /// Waiting queries and event streams.
    pub struct Waiting {
        taken: Gauge = "seats_taken", "Waiting queries and event streams now";
        refused: Counter = "seats_refused",
            "Waiting queries and event streams that were refused, because there were too many";
        tail_behind: Family<ReaderLabel, Gauge<f64, AtomicU64>> = "tail_behind_seconds",
            "For how long the event log has not been read to its end, by reader";
        events_unreadable: Counter = "events_unreadable",
            "Events left out of streams, because their rows hold impossible values";
    }
}

metrics! {
    /// The recorder, its store, and the clock.
    pub struct Inside {
        batches: Counter = "recorder_batches", "Transactions of the recorder that were committed";
        entries: Counter = "recorder_entries", "Entries that the recorder committed";
        commit_seconds: Histogram = "recorder_commit_seconds",
            "From the beginning of a transaction to the end of its commit",
            Histogram::new(COMMIT_SECONDS);
        clock_difference: Gauge = "clock_difference_seconds",
            "By how much the system's clock is ahead of this process's time";
        free_bytes: Unset = "store_free_bytes", "Free space on the disk of a SQLite store";
        durable: Unset = "store_durable",
            "1 if what is committed survives a power cut of the database server, 0 if fsync or full_page_writes is off";
    }
}
