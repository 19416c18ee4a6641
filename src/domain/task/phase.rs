//! The phases of a task, each with the facts that only it has. `task` re-exports them and decides
//! on the transitions.

use strum::{EnumString, IntoStaticStr};

use super::seen::Claim;
use super::state::State;
use crate::domain::ids::TaskId;
use crate::domain::observation::{Observation, ResultsDigest, ResultsOrder, Source};
use crate::domain::timestamp::Timestamp;

/// Where a task stands. Only an accepted one has a task id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The intent to submit is recorded. EvoLink has not answered yet.
    Submitting,
    /// EvoLink may or may not have accepted and billed the submit. It is never sent again. A
    /// callback may still bind the task id.
    SubmitUnknown,
    /// EvoLink refused the submit, or was never reached.
    Rejected,
    Accepted(Accepted),
}

/// A submit that ended without an answer that names a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum SubmitEnd {
    Refused,
    Unknown,
}

/// A task whose id EvoLink or a callback has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Bound by the first observation for this submission. It never changes afterwards.
    pub task_id: TaskId,
    /// When EvoLink itself first named that id, in its answer to a submit or a poll. Until then the
    /// id is only known from a callback, which anybody with the URL can send.
    pub vouched_at: Option<Timestamp>,
    pub stage: Stage,
    /// The source of the observation that led to the current stage.
    pub source: Source,
    /// 0 to 100. Never falls.
    pub progress: u8,
    /// An outcome that a callback reported and that EvoLink has not confirmed. If the task has
    /// ended, this is another outcome than the recorded one, which stays.
    pub claim: Option<Claim>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Pending,
    Processing,
    /// EvoLink does not know the task, or did not report an outcome in time. This is not an
    /// outcome: a later one still counts.
    Unresolved,
    Ended {
        outcome: Outcome,
        at: Timestamp,
    },
}

/// An outcome. The first one never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The digest identifies the results.
    Completed(ResultsDigest),
    Failed,
    Cancelled,
}

/// The published results of a completed task.
#[derive(Clone, Debug)]
pub struct Published {
    pub observation: Observation,
    pub order: ResultsOrder,
}

impl Phase {
    pub const fn state(&self) -> State {
        match self {
            Self::Submitting => State::Submitting,
            Self::SubmitUnknown => State::SubmitUnknown,
            Self::Rejected => State::Rejected,
            Self::Accepted(accepted) => accepted.stage.state(),
        }
    }
}

impl Accepted {
    /// `None` unless the task has ended.
    pub const fn outcome_at(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Ended { at, .. } => Some(at),
            Stage::Pending | Stage::Processing | Stage::Unresolved => None,
        }
    }

    /// The digest of the results. `None` unless the task is completed.
    pub const fn results_digest(&self) -> Option<&ResultsDigest> {
        match &self.stage {
            Stage::Ended {
                outcome: Outcome::Completed(digest),
                ..
            } => Some(digest),
            Stage::Pending | Stage::Processing | Stage::Unresolved | Stage::Ended { .. } => None,
        }
    }
}

impl Stage {
    pub const fn state(self) -> State {
        match self {
            Self::Pending => State::Pending,
            Self::Processing => State::Processing,
            Self::Unresolved => State::Unresolved,
            Self::Ended { outcome, .. } => outcome.state(),
        }
    }
}

impl Outcome {
    pub const fn state(self) -> State {
        match self {
            Self::Completed(_) => State::Completed,
            Self::Failed => State::Failed,
            Self::Cancelled => State::Cancelled,
        }
    }
}
