//! Events for consumers: one for each change of a task's status, in the order of the log.

pub mod id;

use super::task::state::State;

/// The type of an event. Its name is the `type` of the event in the log, the feed and the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Submitted,
    Processing,
    Completed,
    Failed,
    Cancelled,
    Conflict,
    Unresolved,
    /// The results are archived by this service.
    Archived,
}

impl EventType {
    pub const ALL: [Self; 8] = [
        Self::Submitted,
        Self::Processing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Conflict,
        Self::Unresolved,
        Self::Archived,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "task.submitted",
            Self::Processing => "task.processing",
            Self::Completed => "task.completed",
            Self::Failed => "task.failed",
            Self::Cancelled => "task.cancelled",
            Self::Conflict => "task.conflict",
            Self::Unresolved => "task.unresolved",
            Self::Archived => "task.archived",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether the event reports an outcome.
    pub const fn is_outcome(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The event that reports `state`. `None` for states that only the submitting app learns of.
    pub const fn of(state: State) -> Option<Self> {
        match state {
            State::Submitting | State::SubmitUnknown | State::Rejected => None,
            State::Pending => Some(Self::Submitted),
            State::Processing => Some(Self::Processing),
            State::Completed => Some(Self::Completed),
            State::Failed => Some(Self::Failed),
            State::Cancelled => Some(Self::Cancelled),
            State::Unresolved => Some(Self::Unresolved),
        }
    }
}
