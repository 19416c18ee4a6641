//! Quarantine: bodies that could not be applied, kept so that nothing EvoLink said is lost, and
//! replayed when they can be read. Bounded for each callback URL and globally: the holder of one
//! URL must not be able to fill the disk (rule B8).

mod headers;
mod keep;
mod read;
mod replay;
mod report;

pub(super) use keep::{Kept, keep};
pub use read::{QuarantineEntry, QuarantineFilter, QuarantinePage, QuarantineWhole, STATEMENTS};
pub(super) use replay::{Replayable, load, mark};
pub(super) use report::Reporter;
use strum::{EnumString, IntoStaticStr};

/// Why an entry is in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum Kind {
    /// The body is not a task.
    Unreadable,
    /// The body is about another task than its URL is for.
    Mismatch,
    /// The outcome differs from the recorded one.
    Conflict,
}

/// The result of replaying an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum ReplayResult {
    Recorded,
    Unchanged,
    Duplicate,
    Conflict,
    Mismatch,
}

impl ReplayResult {
    /// Returns whether the task already reflects the entry, so that nothing is left to replay.
    const fn is_applied(self) -> bool {
        matches!(self, Self::Recorded | Self::Unchanged | Self::Duplicate)
    }
}

/// The limits of the quarantine. Bytes are those of headers and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The limits for one callback URL.
    pub entries_per_subject: usize,
    pub bytes_per_subject: u64,
    /// The limits for all entries together.
    pub entries: u64,
    pub bytes: u64,
}

impl Bounds {
    /// The defaults in `config.example.toml`.
    pub const DEFAULT: Self = Self {
        entries_per_subject: 20,
        bytes_per_subject: 1024 * 1024,
        entries: 10_000,
        bytes: 256 * 1024 * 1024,
    };
}

/// The current size of the quarantine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub entries: u64,
    pub bytes: u64,
}

impl Total {
    fn from_row((entries, bytes): (i64, i64)) -> Self {
        Self {
            entries: unsigned(entries),
            bytes: unsigned(bytes),
        }
    }

    const fn is_within(self, bounds: &Bounds) -> bool {
        self.entries <= bounds.entries && self.bytes <= bounds.bytes
    }

    const fn without(self, bytes: u64) -> Self {
        Self {
            entries: self.entries.saturating_sub(1),
            bytes: self.bytes.saturating_sub(bytes),
        }
    }
}

/// Converts a count from the store. A CHECK ensures that it is never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
