//! The metrics of the tests that a service makes of itself. They have no series while it makes none.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::labels::Name;
use super::series::{Unset, metrics};
use crate::domain::timestamp::Timestamp;

metrics! {
    pub struct SelfTests {
        steps: Family<StepLabel, Gauge> = "self_test",
            "1 if the step of the last self-test was good, 0 if it failed or was skipped";
        at: Unset = "self_test_timestamp_seconds",
            "When the last self-test was done, in seconds since 1970";
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabel {
    step: Name,
}

impl Metrics {
    pub fn self_tested(&self, step: &'static str, is_good: bool) {
        let label = StepLabel { step: Name(step) };
        let gauge = self.0.self_tests.steps.get_or_create(&label);
        gauge.set(i64::from(is_good));
    }

    pub fn self_tested_at(&self, at: Timestamp) {
        self.0.self_tests.at.get_or_create(&[]).set(at.as_seconds());
    }
}
