//! The consumers of outcomes: waiting queries, streams, and webhooks. How soon they learn an
//! outcome, how many there may be, and what they cost callbacks.
//!
//! Reading order: `latency`, `crowd` and `endpoints` define what is measured. `waiter`, `stream`
//! and `sink` are the three kinds of consumers, and `arrivals` is what they record.

mod arrivals;
mod crowd;
mod endpoints;
mod latency;
mod sink;
mod stream;
mod waiter;

use std::sync::Arc;

use anyhow::ensure;

pub use crowd::crowd;
pub use endpoints::{endpoints, standing};
pub use latency::latency;

use crate::callback::{Script, TaskNumber};
use crate::load::{Answered, Load, Window};
use crate::servers::Server;

/// The connections for callbacks.
const CONNECTIONS: usize = 64;

/// Makes `server` record `count` tasks that are still running.
async fn begin_tasks(server: &Server, count: usize) -> anyhow::Result<Arc<[TaskNumber]>> {
    let mut begun = Vec::with_capacity(count);
    while begun.len() < count {
        let script = Script::begun_tasks(&server.callback_path());
        let soon = Window::after(
            std::time::Duration::ZERO,
            std::time::Duration::from_millis(200),
        );
        let told = Load::closed(CONNECTIONS).start(server.callbacks(), script, soon);
        begun.extend(
            answered(told.finish().await)?
                .iter()
                .filter_map(|one| one.task),
        );
    }
    begun.truncate(count);
    Ok(begun.into())
}

/// Returns the responses if nothing failed.
fn answered(outcome: crate::load::Outcome) -> anyhow::Result<Vec<Answered>> {
    ensure!(
        outcome.first_failure.is_none(),
        "{} callbacks failed: {:?}",
        outcome.failures,
        outcome.first_failure
    );
    Ok(outcome.answered)
}
