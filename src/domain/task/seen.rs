//! The result of `Task::see`: what an observation changed. `task` re-exports these types.

use strum::IntoStaticStr;

use super::confirmation::Doubt;
use super::state::State;
use crate::domain::event::EventType;
use crate::domain::timestamp::Timestamp;

/// The verdict on an observation. It is the `result` in the answer to a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum Verdict {
    /// The observation was new and was recorded.
    Recorded,
    /// The observation changed nothing.
    Unchanged,
    /// The observation repeats the recorded outcome.
    Duplicate,
    /// The observation reports a different outcome than the recorded one, which stays.
    Conflict,
}

/// An unconfirmed outcome: a callback reported it, but it is not published before EvoLink itself
/// reports the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The state that the outcome would lead to.
    pub state: State,
    /// When a callback last reported it.
    pub at: Timestamp,
}

/// The effect of an observation on a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub verdict: Verdict,
    pub event: Option<EventType>,
    /// The outcome that the observation reports, if it needs confirmation.
    pub doubted: Option<Doubted>,
    /// Whether the state or the progress changed. Such an observation is stored even beyond the
    /// bound on observations per task.
    pub moved: bool,
    /// Whether the body of the observation is now the one to show for the task.
    pub shown: bool,
}

impl Seen {
    pub const fn unmoved(verdict: Verdict) -> Self {
        Self {
            verdict,
            event: None,
            doubted: None,
            moved: false,
            shown: false,
        }
    }

    #[must_use]
    pub fn doubted(self, reason: Option<Doubt>, state: State) -> Self {
        let doubted = reason.map(|reason| Doubted { reason, state });
        Self { doubted, ..self }
    }
}

/// An outcome that needs confirmation by EvoLink, and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubted {
    pub reason: Doubt,
    pub state: State,
}
