//! What may go wrong while the recorder is called.

use fastrand::Rng;

use super::machine::PLACES;

/// More than a batch takes, whatever is in it: the later ones are crashes after the answer.
const WAKES_MAX: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    None,
    /// The process ends when its recorder was woken so many times.
    Crash {
        wakes: u32,
    },
    /// The database refuses rows at one place of the batch; with a crash, perhaps, while the recorder makes do with that.
    Refusal {
        place: usize,
        way: usize,
        of_one_task: bool,
        wakes: Option<u32>,
    },
    /// The process ends while it waits for another's lock.
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

    /// Whether the process is gone after it.
    pub const fn is_crash(self) -> bool {
        matches!(
            self,
            Self::Crash { .. } | Self::CrashInLine | Self::Refusal { wakes: Some(_), .. }
        )
    }
}
