//! The metric of the configuration in use.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::series::metrics;

metrics! {
    pub struct Configuration {
        info: Family<FingerprintLabel, Gauge> = "config_info",
            "Always 1; the label changes with the configuration in use";
    }
}

/// There is one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FingerprintLabel {
    fingerprint: String,
}

impl Metrics {
    pub fn configuration_in_use(&self, fingerprint: &str) {
        let label = FingerprintLabel {
            fingerprint: fingerprint.to_owned(),
        };
        let info = &self.0.configuration.info;
        info.clear();
        info.get_or_create(&label).set(1);
    }
}
