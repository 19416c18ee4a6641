//! The answer to a submit that was made before: under the same `Idempotency-Key`, or as the first
//! of several equal submits.

use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{Earlier, Outcome};
use super::{REPLAY_WAIT, Running, Submits};
use crate::domain::ids::SubmissionId;
use crate::domain::json::Fields;
use crate::domain::observation::Source;
use crate::domain::task::{Accepted, State};
use crate::store::read::{TaskName, TaskView};
use crate::store::{Store, StoreError};
use crate::task_object::TaskObjects;

/// The result of an earlier submit.
enum First {
    /// EvoLink accepted it: the answer that its app received, or should have received.
    Accepted(Fields),
    /// Nothing was accepted.
    Refused,
    /// EvoLink may have accepted it.
    Unknown,
    /// It has no answer yet.
    InFlight,
}

impl Running<'_> {
    /// The answer to the first submit under the same key; `None` if that one was refused.
    pub(super) async fn replay(
        &self,
        first: SubmissionId,
        deadline: Instant,
    ) -> Result<Option<Outcome>, Outcome> {
        let earlier = Some(Earlier::SameKey);
        match self.find_first(first, deadline).await? {
            First::Accepted(task) => Ok(Some(Outcome::accepted(first, task, earlier))),
            First::Refused => Ok(None),
            First::Unknown => Err(Outcome::Unknown {
                submission_id: first,
                earlier,
            }),
            First::InFlight => Err(Outcome::KeyInFlight),
        }
    }

    /// The answer to the submit that is repeated; `None` if that one was refused, so that this is a
    /// new submit.
    pub(super) async fn repeat(
        &self,
        first: SubmissionId,
        is_orphan: bool,
    ) -> Result<Option<Outcome>, Outcome> {
        let earlier = Some(Earlier::Unanswered);
        let deadline = self.answer_deadline(first, is_orphan);
        match self.find_first(first, deadline).await? {
            First::Accepted(task) => Ok(Some(Outcome::accepted(first, task, earlier))),
            First::Refused => Ok(None),
            First::Unknown | First::InFlight => Err(Outcome::Unknown {
                submission_id: first,
                earlier,
            }),
        }
    }

    async fn find_first(&self, first: SubmissionId, deadline: Instant) -> Result<First, Outcome> {
        let finding = find_first(self.submits, first, deadline);
        match self.disconnected.run_until_cancelled(finding).await {
            Some(found) => Ok(found?),
            None => Err(Outcome::Abandoned),
        }
    }

    /// The time until which the process that sent the first submit may still answer it.
    fn answer_deadline(&self, first: SubmissionId, is_orphan: bool) -> Instant {
        let whole = self.submits.evolink_timeout + REPLAY_WAIT;
        let age = self.submits.clock.now().as_millis() - first.made_at().as_millis();
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        let left = if is_orphan {
            Duration::ZERO
        } else {
            whole.saturating_sub(age)
        };
        Instant::now() + left
    }
}

/// Waits for the answer until `deadline`.
async fn find_first(
    submits: &Submits,
    first: SubmissionId,
    deadline: Instant,
) -> Result<First, StoreError> {
    let (store, objects) = (&submits.store, &submits.task_objects);
    let mut news = store.wake().waiter();
    loop {
        let view = store.find_task(&TaskName::Submission(first)).await?;
        let Some(view) = view else {
            return Ok(First::Refused);
        };
        match view.record.task.state() {
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
                let answer = first_answer(store, objects, &view).await?;
                return Ok(First::Accepted(answer));
            }
        }
    }
}

/// EvoLink's answer to the submit. If there is none, because a callback created the task, the task
/// as it is now.
async fn first_answer(
    store: &Store,
    objects: &TaskObjects,
    view: &TaskView,
) -> Result<Fields, StoreError> {
    let body = match view.record.seq {
        Some(seq) => store.find_submit_answer(seq).await?,
        None => None,
    };
    Ok(match body {
        Some(body) => {
            let task = &view.record.task;
            let at = task.accepted().and_then(Accepted::outcome_at);
            let at = at.unwrap_or(task.submitted_at);
            objects.as_told_by(view, &body, Source::Submit, at)
        }
        None => objects.of_view(view),
    })
}
