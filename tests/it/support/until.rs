//! Waiting for what must come, however busy the machine is.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Far above any time under test: reaching it means that it will never happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `is_it` says so.
pub async fn until(what: &str, is_it: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_it() {
        assert!(Instant::now() < deadline, "it never came: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
