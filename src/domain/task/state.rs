//! The names of a task's phases and their stages. `task` re-exports them.

/// The state of a task, which is finer than EvoLink's `status`. See `Phase` and `Stage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    pub const ALL: [Self; 9] = [
        Self::Submitting,
        Self::SubmitUnknown,
        Self::Rejected,
        Self::Pending,
        Self::Processing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Unresolved,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitting => "submitting",
            Self::SubmitUnknown => "submit_unknown",
            Self::Rejected => "rejected",
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unresolved => "unresolved",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether this is an outcome, which never changes.
    pub const fn is_outcome(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}
