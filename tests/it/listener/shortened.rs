//! Limits that a test has shortened.

use std::time::Duration;

use evolink_receiver::http::serve::limits::Limits;

/// Longer than any shortened limit, and shorter than any other limit.
pub const SOON: Duration = Duration::from_secs(30);

/// The public limits with `change` applied.
pub fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::public();
    change(&mut limits);
    limits
}
