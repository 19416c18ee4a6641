//! Waits for conditions that must become true, however busy the machine is.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Far above any time under test. Reaching it means that the awaited event will never happen.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The pause between two looks.
pub const STEP: Duration = Duration::from_millis(20);

/// Waits until `is_it` returns true.
pub async fn until(what: &str, mut is_it: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_it() {
        assert!(Instant::now() < deadline, "it never came: {what}");
        sleep(STEP).await;
    }
}
