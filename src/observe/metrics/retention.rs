//! The metrics of the janitor, which deletes old rows.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::IntoStaticStr;

use super::Metrics;
use super::labels::Name;
use super::series::{Unset, metrics};
use crate::domain::timestamp::Timestamp;

metrics! {
    pub struct Deletions {
        deleted: Family<KindLabel, Counter> = "retention_deleted_rows",
            "Rows that were deleted because they were kept for long enough, by kind";
        ran_at: Unset = "retention_last_run_timestamp_seconds",
            "When this process last had deleted everything that was old, in seconds since 1970";
        paused: Gauge = "retention_paused",
            "1 while nothing is deleted: the clock is far beyond the last run, or the export fails";
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    kind: Name,
}

/// A kind of row that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum DeletedKind {
    Task,
    Event,
    /// The body of an observation. Its row is deleted with the task.
    ObservationBody,
    Delivery,
    Quarantine,
    IdempotencyKey,
}

impl DeletedKind {
    /// The plural, for the log.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Task => "tasks",
            Self::Event => "events",
            Self::ObservationBody => "bodies of observations",
            Self::Delivery => "deliveries",
            Self::Quarantine => "quarantine entries",
            Self::IdempotencyKey => "idempotency keys",
        }
    }
}

impl Metrics {
    pub fn rows_deleted(&self, kind: DeletedKind, rows: u32) {
        let kind = Name(kind.into_str());
        let counter = self.0.deletions.deleted.get_or_create(&KindLabel { kind });
        counter.inc_by(rows.into());
    }

    pub fn retention_ran(&self, at: Timestamp) {
        self.0
            .deletions
            .ran_at
            .get_or_create(&[])
            .set(at.as_seconds());
    }

    pub fn retention_paused(&self, is_paused: bool) {
        self.0.deletions.paused.set(i64::from(is_paused));
    }
}
