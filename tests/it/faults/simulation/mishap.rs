//! The faults that may happen while the recorder is called.

use fastrand::Rng;

use super::machine::PLACES;

/// More wakes than any batch takes. A crash at a later wake comes after the answer.
const WAKES_MAX: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    None,
    /// The process ends when its recorder was woken `wakes` times.
    Crash {
        wakes: u32,
    },
    /// The database refuses rows at one place of the batch. Optionally the process also crashes
    /// while the recorder handles that.
    Refusal {
        place: usize,
        way: usize,
        of_one_task: bool,
        wakes: Option<u32>,
    },
    /// The process ends while it waits for a lock that another connection holds.
    CrashInLine,
}

impl Mishap {
    pub fn draw(random: &mut Rng) -> Self {
        match random.u8(..100) {
            0..74 => Self::None,
            74..85 => Self::Crash {
                wakes: random.u32(1..=WAKES_MAX),
            },
            percent @ 85..98 => Self::Refusal {
                place: random.usize(..PLACES.len()),
                way: random.usize(..3),
                of_one_task: random.bool(),
                wakes: (percent >= 94).then(|| random.u32(1..=WAKES_MAX)),
            },
            _ => Self::CrashInLine,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "calls without a mishap",
            Self::Crash { .. } => "crashes",
            Self::Refusal { wakes: None, .. } => "refusals",
            Self::Refusal { .. } => "refusals with a crash",
            Self::CrashInLine => "crashes in line",
        }
    }

    /// Whether the process is gone afterwards.
    pub const fn is_crash(self) -> bool {
        matches!(
            self,
            Self::Crash { .. } | Self::CrashInLine | Self::Refusal { wakes: Some(_), .. }
        )
    }
}
