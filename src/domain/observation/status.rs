//! The status and the source of an observation. `observation` re-exports both.

use strum::{EnumString, IntoStaticStr};
/// The maximum length of a `status`, in characters.
const STATUS_CHARS_MAX: usize = 64;

/// The `status` of a task as EvoLink reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
    /// A status that EvoLink does not document. It never ends a task.
    Unknown(Box<str>),
}

impl Status {
    /// Recognises exactly the spellings of rule B6 in `docs/rules.md`. Any other status is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        let length = text.chars().count();
        if !(1..=STATUS_CHARS_MAX).contains(&length) || text.chars().any(char::is_control) {
            return None;
        }
        Some(match text {
            "pending" | "queued" => Self::Pending,
            "processing" | "running" => Self::Processing,
            "completed" | "succeeded" | "success" => Self::Completed,
            "failed" | "error" => Self::Failed,
            "cancelled" | "canceled" => Self::Cancelled,
            unknown => Self::Unknown(unknown.into()),
        })
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown(text) => text,
        }
    }
}

/// The source of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum Source {
    Submit,
    Callback,
    Poll,
    Replay,
}

impl Source {
    /// Whether the observation is EvoLink's answer to a request of ours. In a callback, anybody who
    /// has the URL can claim anything.
    pub const fn is_evolinks_word(self) -> bool {
        match self {
            Self::Submit | Self::Poll => true,
            Self::Callback | Self::Replay => false,
        }
    }
}
