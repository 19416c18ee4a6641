//! The names of a task's phases and their stages. `task` re-exports them.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// The state of a task, which is finer than EvoLink's `status`. See `Phase` and `Stage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum State {
    Submitting,
    SubmitUnknown,
    Rejected,
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
    Unresolved,
}

impl State {
    /// Whether this is an outcome, which never changes.
    pub const fn is_outcome(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether the task will not change by itself any more. An unresolved one may still: a late
    /// outcome counts.
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Completed
            | Self::Failed
            | Self::Cancelled
            | Self::Rejected
            | Self::Unresolved => true,
            Self::Submitting | Self::SubmitUnknown | Self::Pending | Self::Processing => false,
        }
    }
}
