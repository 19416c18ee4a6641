//! A submit that was made before under the same `Idempotency-Key`: what the first one was told.

use tokio::time::Instant;

use super::error::ApiError;
use super::internal::InternalState;
use super::submission::{Submitted, accepted_as};
use super::task_object;
use crate::domain::ids::SubmissionId;
use crate::domain::json::Fields;
use crate::domain::observation::Source;
use crate::domain::task::State;
use crate::store::reads::{TaskName, TaskView};

/// The answer that the first request with this key was given; `None` if it was refused, which frees the key.
pub async fn replay(
    state: &InternalState,
    first: SubmissionId,
    deadline: Instant,
) -> Result<Option<Submitted>, ApiError> {
    let mut news = state.store.wake().waiter();
    loop {
        let view = state.store.find_task(&TaskName::Submission(first)).await?;
        let Some(view) = view else { return Ok(None) };
        match view.record.task.state {
            State::Rejected => return Ok(None),
            State::SubmitUnknown => return Err(ApiError::submit_outcome_unknown(first)),
            State::Submitting if Instant::now() < deadline => news.wait().await,
            State::Submitting => return Err(ApiError::idempotency_in_flight()),
            _ => {
                return Ok(Some(accepted_as(
                    first,
                    first_answer(state, &view).await?,
                    true,
                )));
            }
        }
    }
}

/// What EvoLink answered to the submit; if it never did and a callback told of the task instead, the task as it is.
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
