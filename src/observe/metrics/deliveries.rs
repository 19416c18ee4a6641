//! Metrics of deliveries, by endpoint. They balance at any scrape: made + revived = delivered +
//! dead + pending.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::IntoStaticStr;

use super::Metrics;
use super::labels::{Name, StateLabel};
use super::series::metrics;
use crate::domain::delivery::DeliveryState;

metrics! {
    pub struct Deliveries {
        made: Family<EndpointLabel, Counter> = "deliveries_made", "Deliveries created, by endpoint";
        ended: Family<EndLabels, Counter> = "deliveries",
            "Delivery attempts by result; failed ones are retried";
        revived: Family<EndpointLabel, Counter> = "deliveries_revived",
            "Dead deliveries that are sent again, or turned out to be delivered";
        open: Family<StateLabel, Gauge> = "deliveries_open",
            "Deliveries that are pending or dead, at most 10000 of a state";
        held: Gauge = "deliveries_held",
            "Pending deliveries whose endpoint answers 410, at most 10000";
        disabled: Gauge = "endpoints_disabled",
            "Endpoints that answered 410 to several deliveries and get nothing until an operator retries";
        files_refused: Gauge = "signing_files_refused",
            "Files of signing secrets that cannot be read now; the secrets read before stay in use";
    }
}

/// The name of an endpoint of the configuration, or one of `COUNTED_TOGETHER`. The caller makes
/// sure of that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndpointLabel {
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndLabels {
    endpoint: String,
    result: Name,
}

/// The outcome of an attempt or of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum DeliveryEnd {
    Delivered,
    /// The delivery will be tried again.
    Failed,
    Dead,
}

impl Metrics {
    /// Counts a new delivery to `endpoint`.
    pub fn delivery_made(&self, endpoint: &str) {
        let labels = EndpointLabel::of(endpoint);
        self.0.deliveries.made.get_or_create(&labels).inc();
    }

    pub fn delivery_ended(&self, endpoint: &str, end: DeliveryEnd) {
        let labels = EndLabels {
            endpoint: endpoint.to_owned(),
            result: Name(end.into_str()),
        };
        self.0.deliveries.ended.get_or_create(&labels).inc();
    }

    /// Counts a dead delivery that an operator made pending again.
    pub fn delivery_revived(&self, endpoint: &str) {
        let labels = EndpointLabel::of(endpoint);
        self.0.deliveries.revived.get_or_create(&labels).inc();
    }

    /// Sets the number of deliveries in `state`.
    pub fn deliveries_counted(&self, state: DeliveryState, deliveries: i64) {
        let state = Name(state.into_str());
        let gauge = self.0.deliveries.open.get_or_create(&StateLabel { state });
        gauge.set(deliveries);
    }

    /// Sets the number of pending deliveries that are held.
    pub fn deliveries_held_counted(&self, deliveries: i64) {
        self.0.deliveries.held.set(deliveries);
    }

    /// Sets the number of signing secret files that can no longer be read.
    pub fn signing_files_refused(&self, files: usize) {
        let files = i64::try_from(files).unwrap_or(i64::MAX);
        self.0.deliveries.files_refused.set(files);
    }

    /// Sets the number of standing endpoints that are disabled.
    pub fn disabled_counted(&self, endpoints: usize) {
        let endpoints = i64::try_from(endpoints).unwrap_or(i64::MAX);
        self.0.deliveries.disabled.set(endpoints);
    }
}

impl EndpointLabel {
    fn of(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
        }
    }
}
