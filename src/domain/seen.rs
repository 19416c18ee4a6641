//! What an observation came to, as `Task::see` tells it. Known outside under `task`.

use super::confirmation::Doubt;
use super::event::EventType;
use super::state::State;
use super::timestamp::Timestamp;

/// What became of an observation; the `result` in the answer to a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Something new, kept.
    Recorded,
    /// Nothing new.
    Unchanged,
    /// The recorded outcome once more.
    Duplicate,
    /// Another outcome than the recorded one, which stays.
    Conflict,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Unchanged => "unchanged",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
        }
    }
}

/// What a callback says that is not published before EvoLink itself has said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// An outcome.
    pub state: State,
    /// When it was last claimed.
    pub at: Timestamp,
}

/// What an observation did to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub verdict: Verdict,
    pub event: Option<EventType>,
    /// The outcome that it tells of and that was not believed.
    pub doubted: Option<Doubted>,
    /// Whether state or progress moved: kept however much was kept before.
    pub moved: bool,
    /// Whether the observation's body is now the one to show for the task.
    pub shown: bool,
}

impl Seen {
    pub(super) const fn unmoved(verdict: Verdict) -> Self {
        Self {
            verdict,
            event: None,
            doubted: None,
            moved: false,
            shown: false,
        }
    }

    pub(super) fn doubted(self, reason: Option<Doubt>, state: State) -> Self {
        let doubted = reason.map(|reason| Doubted { reason, state });
        Self { doubted, ..self }
    }
}

/// An outcome that EvoLink is to be asked about, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubted {
    pub reason: Doubt,
    pub state: State,
}
