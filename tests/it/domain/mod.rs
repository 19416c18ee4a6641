//! The state machine of a task as a whole: its table, and the properties that hold whatever EvoLink
//! reports and in whatever order.

mod order;
mod staged;
mod steps;
mod table;

use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::domain::observation::Observation;
use evolink_receiver::domain::task::confirmation::{Confirm, Confirmation, ListedHosts, Policy};
use evolink_receiver::domain::task::polling::Pace;

const PACE: Pace = Pace {
    first_poll_after: Duration::from_secs(15),
    interval_min: Duration::from_secs(3),
    give_up_after: Duration::from_hours(24),
};

/// `PACE`, and `confirm` with the one host that results are on.
fn policy(confirm: Confirm) -> Policy {
    let hosts = ListedHosts::new(&["h".to_owned()]);
    Policy {
        pace: PACE,
        confirmation: Confirmation { confirm, hosts },
    }
}

/// EvoLink's report on task `t`, with `status`, and `more` members as JSON text.
fn observation(status: &str, more: &str) -> Observation {
    let body = format!(r#"{{"id":"t","status":"{status}"{more}}}"#);
    Observation::parse(Bytes::from(body)).unwrap()
}
