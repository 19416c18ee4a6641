//! The answer to a submit that was made before: under the same `Idempotency-Key`, or as the first
//! of several equal submits.

use tokio::time::Instant;

use super::{Submitted, accepted_as};
use crate::domain::ids::SubmissionId;
use crate::domain::json::Fields;
use crate::domain::observation::Source;
use crate::domain::task::State;
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::store::read::{TaskName, TaskView};
use crate::task_object;

/// The result of an earlier submit.
pub enum First {
    Answered(Box<Submitted>),
    /// Nothing was accepted.
    Refused,
    /// EvoLink may have accepted it.
    Unknown,
    /// It has no answer yet.
    InFlight,
}

/// The answer that the app of submit `first` received, or should have received. Waits for it until
/// `deadline`.
pub async fn find_answer(
    state: &InternalState,
    first: SubmissionId,
    deadline: Instant,
) -> Result<First, ApiError> {
    let mut news = state.store.wake().waiter();
    loop {
        let view = state.store.find_task(&TaskName::Submission(first)).await?;
        let Some(view) = view else {
            return Ok(First::Refused);
        };
        match view.record.task.state {
            State::Rejected => return Ok(First::Refused),
            State::SubmitUnknown => return Ok(First::Unknown),
            State::Submitting if Instant::now() < deadline => news.wait().await,
            State::Submitting => return Ok(First::InFlight),
            State::Pending
            | State::Processing
            | State::Completed
            | State::Failed
            | State::Cancelled
            | State::Unresolved => {
                let answer = first_answer(state, &view).await?;
                return Ok(First::Answered(Box::new(accepted_as(first, answer, true))));
            }
        }
    }
}

/// EvoLink's answer to the submit. If there is none, because a callback created the task, the task
/// as it is now.
async fn first_answer(state: &InternalState, view: &TaskView) -> Result<Fields, ApiError> {
    let body = match view.record.seq {
        Some(seq) => state.store.find_submit_answer(seq).await?,
        None => None,
    };
    Ok(match body {
        Some(body) => {
            let at = view
                .record
                .task
                .outcome_at
                .unwrap_or(view.record.task.submitted_at);
            task_object::as_told_by(&view.record, &body, Source::Submit, at)
        }
        None => task_object::of_view(view),
    })
}
