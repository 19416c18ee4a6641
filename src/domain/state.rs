//! The states of a task. What moves a task from one to another is in `task`, under which they are known outside.

/// Where a task is; finer than EvoLink's `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The intent is recorded; EvoLink has not answered yet.
    Submitting,
    /// EvoLink may have accepted and billed the submit, or not. Never sent again; a callback adopts the task id.
    SubmitUnknown,
    /// EvoLink refused the submit, or was never reached.
    Rejected,
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
    /// EvoLink does not know the task, or it has had its time. Not an outcome: a later one still
    /// counts.
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

    /// Whether EvoLink has been heard to know this task.
    pub const fn is_confirmed(self) -> bool {
        !matches!(
            self,
            Self::Submitting | Self::SubmitUnknown | Self::Rejected
        )
    }
}
