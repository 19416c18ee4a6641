//! The states of a task. `task` re-exports them and decides on the transitions.

/// The state of a task, which is finer than EvoLink's `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The intent to submit is recorded. EvoLink has not answered yet.
    Submitting,
    /// EvoLink may or may not have accepted and billed the submit. It is never sent again. A
    /// callback may still bind the task id.
    SubmitUnknown,
    /// EvoLink refused the submit, or was never reached.
    Rejected,
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
    /// EvoLink does not know the task, or did not report an outcome in time. This is not an
    /// outcome: a later one still counts.
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

    /// Whether a task id is known, from EvoLink or from a callback.
    pub const fn is_confirmed(self) -> bool {
        !matches!(
            self,
            Self::Submitting | Self::SubmitUnknown | Self::Rejected
        )
    }
}
