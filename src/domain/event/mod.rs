//! Events for consumers: one for each change of a task's status, in the order of the log.

pub mod id;

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::task::state::State;

/// The type of an event. Its name is the `type` of the event in the log, the feed and the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(const_into_str)]
pub enum EventType {
    #[strum(serialize = "task.submitted")]
    Submitted,
    #[strum(serialize = "task.processing")]
    Processing,
    #[strum(serialize = "task.completed")]
    Completed,
    #[strum(serialize = "task.failed")]
    Failed,
    #[strum(serialize = "task.cancelled")]
    Cancelled,
    /// EvoLink's own answer has the published results and more, which replace them.
    #[strum(serialize = "task.updated")]
    Updated,
    #[strum(serialize = "task.conflict")]
    Conflict,
    #[strum(serialize = "task.unresolved")]
    Unresolved,
    /// All result files are archived or given up.
    #[strum(serialize = "task.archived")]
    Archived,
}

impl EventType {
    /// Whether the event reports an outcome.
    pub const fn is_outcome(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether endpoints can have the event delivered.
    pub const fn is_delivered(self) -> bool {
        self.is_outcome() || matches!(self, Self::Updated | Self::Archived)
    }

    /// Whether the event also goes to the app's own address.
    pub const fn is_for_app(self) -> bool {
        self.is_outcome() || matches!(self, Self::Updated)
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
