//! The metric of the configuration in use.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::labels::Name;
use super::series::{Unset, metrics};
use crate::domain::timestamp::Timestamp;

metrics! {
    pub struct Configuration {
        info: Family<FingerprintLabel, Gauge> = "config_info",
            "Always 1; the label changes with the configuration in use";
        build: Family<BuildLabels, Gauge> = "build_info",
            "Always 1; the labels are the version and the commit of this program";
        api_keys: Gauge = "api_keys", "API keys of the configuration in use";
        token_keys: Gauge = "callback_token_keys",
            "Keys in the key ring, with which callback URLs are made and verified";
        certificate_expiry: Unset = "certificate_expiry_timestamp_seconds",
            "When the certificate of the public listener expires, in seconds since 1970";
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BuildLabels {
    version: Name,
    commit: Name,
}

/// There is one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FingerprintLabel {
    fingerprint: String,
}

impl Metrics {
    pub(super) fn built(&self) {
        let labels = BuildLabels {
            version: Name(env!("CARGO_PKG_VERSION")),
            commit: Name(env!("EVOLINK_RECEIVER_COMMIT")),
        };
        self.0.configuration.build.get_or_create(&labels).set(1);
    }

    pub fn api_keys_in_use(&self, keys: usize) {
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        self.0.configuration.api_keys.set(keys);
    }

    pub fn token_keys_in_use(&self, keys: usize) {
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        self.0.configuration.token_keys.set(keys);
    }

    pub fn certificate_expires_at(&self, at: Timestamp) {
        let gauge = self.0.configuration.certificate_expiry.get_or_create(&[]);
        gauge.set(at.as_seconds());
    }

    pub fn configuration_in_use(&self, fingerprint: &str) {
        let label = FingerprintLabel {
            fingerprint: fingerprint.to_owned(),
        };
        let info = &self.0.configuration.info;
        info.clear();
        info.get_or_create(&label).set(1);
    }
}
