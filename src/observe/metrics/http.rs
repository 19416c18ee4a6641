//! How long requests take, by route. Routes are those of the router, so there is a bounded number
//! of series.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::labels::Name;
use super::series::metrics;

/// Buckets from an answer out of memory to a query that has waited for its longest time.
const REQUEST_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 55.0,
];

type Durations = Family<RequestLabels, Histogram, fn() -> Histogram>;

metrics! {
    pub struct Requests {
        durations: Durations = "http_request_duration_seconds",
            "From the head of a request to the head of its answer, by route",
            Durations::new_with_constructor(|| Histogram::new(REQUEST_SECONDS));
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    method: Name,
    route: String,
    status: Name,
}

impl Metrics {
    /// Records a request that was answered. `route` is the route's template, never a path.
    pub fn request_ended(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let labels = RequestLabels {
            method: Name(known_method(method)),
            route: route.to_owned(),
            status: Name(class(status)),
        };
        let durations = &self.0.requests.durations;
        durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// A client may send any word as its method, of any length.
pub const fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        0..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
