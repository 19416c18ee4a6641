//! The only place that reads the time, so that tests can control it. There are two times:
//!
//! - `now()` is the time of this process, for everything that we plan and store ourselves. It
//!   starts with the system's clock, then follows the monotonic clock: it never jumps and never
//!   goes back. It adapts slowly to a corrected system clock, so a correction by ten years neither
//!   makes every task due at once nor stops the polls. On restart, it takes the system's time
//!   again.
//! - `wall_now()` is the system's clock, for times that are compared with a clock elsewhere: the
//!   timestamp of a signature, the validity of a certificate, the date in a `Retry-After`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tracing::{info, warn};

use crate::domain::timestamp::Timestamp;

const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// The time between two readings of the system's clock. In between, only the monotonic clock is
/// read.
const READ_INTERVAL_NANOS: i64 = 100 * NANOS_PER_MILLI;

/// While our time differs from the system's clock, our seconds are longer or shorter by one part in
/// this many.
const SLEWED_PART: i64 = 20;

/// The difference from which operators are warned. It takes twenty times as long to disappear.
const REPORTED_FROM_SECONDS: i64 = 60;

/// The clocks of the machine, or a clock that stands still until a test moves it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// All copies show the same time.
    System,
    Manual(Arc<ManualClock>),
}

/// The two times of a test, in milliseconds.
#[derive(Debug)]
pub struct ManualClock {
    process: AtomicI64,
    /// The system's clock, relative to the time of the process.
    wall_ahead: AtomicI64,
}

impl Clock {
    /// Creates a clock that stands still at `now`. Both times are the same at first.
    pub fn manual(now: Timestamp) -> Self {
        Self::Manual(Arc::new(ManualClock {
            process: AtomicI64::new(now.as_millis()),
            wall_ahead: AtomicI64::new(0),
        }))
    }

    /// The time of this process, which never jumps. For what we plan and store.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => process_now(),
            Self::Manual(manual) => Timestamp::from_millis(manual.process.load(Ordering::SeqCst)),
        }
    }

    /// The system's clock, which may jump. For times that other parties compare with their clocks.
    pub fn wall_now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::from_millis(wall_nanos().div_euclid(NANOS_PER_MILLI)),
            Self::Manual(manual) => {
                let ahead = manual.wall_ahead.load(Ordering::SeqCst);
                Timestamp::from_millis(self.now().as_millis().saturating_add(ahead))
            }
        }
    }

    /// Moves both times of a manual clock. Has no effect on the system's clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(manual) = self {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            manual.process.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Sets the system's clock of a manual clock. The time of the process stays.
    pub fn set_wall(&self, at: Timestamp) {
        if let Self::Manual(manual) = self {
            let ahead = at.as_millis().saturating_sub(self.now().as_millis());
            manual.wall_ahead.store(ahead, Ordering::SeqCst);
        }
    }
}

/// The seconds by which the system's clock was ahead of the time of the process when it was last
/// read. Negative if it was behind.
pub fn system_ahead_seconds() -> i64 {
    let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    process.steady.ahead / NANOS_PER_SECOND
}

/// One time for the whole process, so that all components agree on the order of events.
static PROCESS: LazyLock<Mutex<ProcessTime>> = LazyLock::new(|| {
    Mutex::new(ProcessTime {
        steady: Steady::begin(Reading::take(monotonic())),
        is_reported: false,
    })
});

struct ProcessTime {
    steady: Steady,
    /// Whether the difference was logged.
    is_reported: bool,
}

/// Both clocks of the system at one moment, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Reading {
    monotonic: i64,
    /// Since the Unix epoch.
    wall: i64,
}

/// A time that follows the monotonic clock, and slowly approaches the wall clock. Pure: the caller
/// reads the clocks.
#[derive(Clone, Copy, Debug)]
struct Steady {
    /// The monotonic clock at the last reading.
    read_at: i64,
    /// Our time at that reading.
    time: i64,
    /// By how much the wall clock was ahead of our time at that reading.
    ahead: i64,
}

fn process_now() -> Timestamp {
    let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let monotonic = monotonic();
    let mut is_due = false;
    if monotonic - process.steady.read_at >= READ_INTERVAL_NANOS {
        process.steady = process.steady.look(Reading::take(monotonic));
        let is_far = process.steady.ahead.abs() >= REPORTED_FROM_SECONDS * NANOS_PER_SECOND;
        is_due = is_far != process.is_reported;
        process.is_reported = is_far;
    }
    let (now, ahead) = (process.steady.time_at(monotonic), process.steady.ahead);
    drop(process);
    if is_due {
        log_difference(ahead / NANOS_PER_SECOND);
    }
    Timestamp::from_millis(now.div_euclid(NANOS_PER_MILLI))
}

fn log_difference(ahead_seconds: i64) {
    if ahead_seconds.abs() >= REPORTED_FROM_SECONDS {
        warn!(
            clock.ahead_seconds = ahead_seconds,
            "the system's clock was set: this process keeps its own time and follows slowly; a restart takes the system's"
        );
    } else {
        info!(
            clock.ahead_seconds = ahead_seconds,
            "this process's time is near the system's clock again"
        );
    }
}

impl Steady {
    const fn begin(at: Reading) -> Self {
        Self {
            read_at: at.monotonic,
            time: at.wall,
            ahead: 0,
        }
    }

    /// Our time at a monotonic reading. An earlier reading than `read_at` counts as `read_at`.
    fn time_at(&self, monotonic: i64) -> i64 {
        let elapsed = monotonic.saturating_sub(self.read_at).max(0);
        let slewed = (elapsed / SLEWED_PART).min(self.ahead.saturating_abs());
        self.time + elapsed + slewed * self.ahead.signum()
    }

    fn look(self, at: Reading) -> Self {
        let time = self.time_at(at.monotonic);
        Self {
            read_at: at.monotonic.max(self.read_at),
            time,
            ahead: at.wall.saturating_sub(time),
        }
    }
}

impl Reading {
    fn take(monotonic: i64) -> Self {
        let wall = wall_nanos();
        Self { monotonic, wall }
    }
}

/// The system's clock, in nanoseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "everything else asks a `Clock`, which asks here"
)]
fn wall_nanos() -> i64 {
    let wall = jiff::Timestamp::now().as_nanosecond();
    // Nanoseconds overflow in the year 2262. A clock that shows such a date is wrong.
    i64::try_from(wall).unwrap_or(if wall < 0 { i64::MIN / 2 } else { i64::MAX / 2 })
}

/// The monotonic clock that continues while the machine sleeps, as the tasks at EvoLink do.
fn monotonic() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec
        .saturating_mul(NANOS_PER_SECOND)
        .saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const YEAR: i64 = 365 * 24 * 3600 * NANOS_PER_SECOND;
    const START: i64 = 1_757_165_031 * NANOS_PER_SECOND;

    /// The elapsed time of each step, and the offset that the wall clock is then set to.
    fn steps() -> impl Strategy<Value = Vec<(i64, i64)>> {
        let elapsed = prop_oneof![0..1000_i64, 0..NANOS_PER_SECOND, 0..YEAR / 100];
        let offset = prop_oneof![
            Just(0),
            -NANOS_PER_SECOND..NANOS_PER_SECOND,
            -10 * YEAR..10 * YEAR
        ];
        prop::collection::vec((elapsed, offset), 1..50)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn time_never_goes_back_and_runs_as_fast_as_the_monotonic_clock_but_for_a_twentieth(steps in steps()) {
            let mut monotonic = 7;
            let mut steady = Steady::begin(Reading { monotonic, wall: START });
            for (elapsed, offset) in steps {
                let (before, half) = (steady.time, steady.time_at(monotonic + elapsed / 2));
                monotonic += elapsed;
                let seen = steady.time_at(monotonic);
                steady = steady.look(Reading { monotonic, wall: START + monotonic + offset });
                prop_assert_eq!(steady.time, seen, "a look is no step");
                prop_assert!(before <= half && half <= seen);
                prop_assert!((seen - before - elapsed).abs() <= elapsed / SLEWED_PART);
            }
        }

        #[test]
        fn time_comes_to_the_wall_clock_and_stays_with_it(offset in -1000 * NANOS_PER_SECOND..1000 * NANOS_PER_SECOND) {
            let wall = |monotonic| START + monotonic + offset;
            let mut steady = Steady::begin(Reading { monotonic: 0, wall: START });
            let mut monotonic = 0;
            let needed = offset.abs() * SLEWED_PART + 2 * NANOS_PER_SECOND;
            while monotonic < needed {
                monotonic += NANOS_PER_SECOND / 3;
                let before = steady.ahead.abs();
                steady = steady.look(Reading { monotonic, wall: wall(monotonic) });
                prop_assert!(before == 0 || steady.ahead.abs() <= before, "further away than before");
            }
            prop_assert_eq!(steady.time, wall(monotonic));
        }
    }

    #[test]
    fn ten_years_are_not_caught_up_with_and_not_jumped_by() {
        for years in [10, -10] {
            let hour = 3600 * NANOS_PER_SECOND;
            let mut steady = Steady::begin(Reading {
                monotonic: 0,
                wall: START,
            });
            for second in 1..=3600 {
                let monotonic = second * NANOS_PER_SECOND;
                steady = steady.look(Reading {
                    monotonic,
                    wall: START + monotonic + years * YEAR,
                });
            }
            assert!((steady.time - START - hour).abs() <= hour / SLEWED_PART);
        }
    }

    #[test]
    fn a_manual_clock_moves_both_times_together_and_the_system_time_alone() {
        let at = Timestamp::from_millis;
        let clock = Clock::manual(at(5_000));
        assert_eq!((clock.now(), clock.wall_now()), (at(5_000), at(5_000)));
        clock.set_wall(at(1_000));
        clock.advance(Duration::from_secs(2));
        assert_eq!((clock.now(), clock.wall_now()), (at(7_000), at(3_000)));
    }

    #[test]
    fn the_process_has_one_time() {
        let mut last = Clock::System.now();
        for _ in 0..10_000 {
            let now = Clock::System.now();
            assert!(now >= last);
            last = now;
        }
        assert!(system_ahead_seconds().abs() < REPORTED_FROM_SECONDS);
    }
}
