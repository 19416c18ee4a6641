//! Callbacks and answers that could not be applied: what is kept, how operators see it, and that it
//! is recorded once after a fix.

mod api;
mod batch;
mod bounds;
mod commands;
mod doubt;
mod kill;
mod replay;

use crate::support::app::callback_body::completed;
use crate::support::app::desk::{Desk, Rows, Submit};
use crate::support::app::quarantine::put;

/// Inserts the documented callback of the submit's completed task.
async fn put_completed(desk: &Desk, submit: &Submit) -> i64 {
    let body = completed(&submit.task_id);
    put(&desk.database, &submit.submission_id, &body).await
}

/// The rows that a replay must not change.
fn without_observations(rows: Rows) -> Rows {
    Rows {
        observations: 0,
        ..rows
    }
}
