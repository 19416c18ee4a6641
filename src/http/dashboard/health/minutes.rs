//! The last hour: minute by minute for the plots, and in all for the text beside them.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;

use super::super::page::Viewer;
use crate::domain::timestamp::Timestamp;
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::observe::metrics::{Counts, HourMinutes};

const MINUTE_SECONDS: i64 = 60;

/// One plot, which a script draws.
#[derive(Debug)]
pub struct Plot {
    pub name: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
}

/// The last hour in numbers.
#[derive(Debug)]
pub struct Totals {
    pub callbacks: u64,
    pub busiest_minute: u64,
    pub latency: Option<String>,
    pub outcomes: u64,
    pub found_by_poll: Option<u64>,
    pub submits: u64,
    pub submits_failed: u64,
    pub open: Option<u64>,
    pub overdue: Option<u64>,
}

/// The series of all plots. Each has one value for each minute; `null` before the start.
#[derive(Debug, Serialize)]
pub struct Minutes {
    /// The beginning of each minute, in Unix seconds.
    times: Vec<i64>,
    started_at: i64,
    callbacks: Vec<Series>,
    latency: Vec<Series>,
    polled: Vec<Series>,
    submits: Vec<Series>,
    open: Vec<Series>,
}

#[derive(Debug, Serialize)]
struct Series {
    name: &'static str,
    values: Vec<Option<f64>>,
}

pub const fn plots() -> [Plot; 5] {
    [
        plot("callbacks", "Callbacks per minute", ""),
        plot("latency", "Acknowledgement latency", "ms"),
        plot("polled", "Outcomes found by polling", "%"),
        plot("submits", "Submits per minute", ""),
        plot("open", "Open and overdue tasks", ""),
    ]
}

const fn plot(name: &'static str, title: &'static str, unit: &'static str) -> Plot {
    Plot { name, title, unit }
}

pub async fn minutes(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Json<Minutes>, ApiError> {
    if !viewer.may_read {
        return Err(ApiError::missing_scope("read"));
    }
    let (now, started_at) = (state.clock.wall_now(), state.about.started_at);
    Ok(Json(Minutes::of(
        &state.metrics.last_minutes(),
        now,
        started_at,
    )))
}

impl Minutes {
    fn of(hour: &HourMinutes, now: Timestamp, started_at: Timestamp) -> Self {
        let count = i64::try_from(hour.callbacks.len()).unwrap_or_default();
        let times: Vec<i64> = (0..count)
            .map(|place| now.as_seconds() - (count - 1 - place) * MINUTE_SECONDS)
            .collect();
        // A minute that ended before the start was not counted.
        let is_counted = |place: usize| times[place] >= started_at.as_seconds();
        let series = |name, of: &dyn Fn(usize) -> Option<f64>| Series {
            name,
            values: (0..times.len())
                .map(|place| of(place).filter(|_| is_counted(place)))
                .collect(),
        };
        let sums = |minutes: &[Counts], names: &[&str], place: usize| {
            let counts = minutes[place].iter();
            let counted = counts.filter(|(name, _)| names.is_empty() || names.contains(name));
            number(counted.map(|(_, count)| count).sum())
        };
        let callbacks =
            |names: &'static [&str]| move |place| Some(sums(&hour.callbacks, names, place));
        let submits = |names: &'static [&str]| move |place| Some(sums(&hour.submits, names, place));
        let all_submits = submits(&[]);
        let accepted = submits(&ACCEPTED);
        let gauge = |name: &'static str| {
            move |place: usize| hour.gauges[place].as_ref()?.get(name).copied().map(number)
        };
        Self {
            callbacks: vec![
                series("recorded", &callbacks(&["recorded", "unchanged"])),
                series("repeated", &callbacks(&["duplicate"])),
                series(
                    "refused or in quarantine",
                    &callbacks(&["conflict", "quarantined", "refused", "aborted"]),
                ),
            ],
            latency: vec![
                series("median", &|place| Some(hour.latency_ms[place]?.p50)),
                series("99 of 100", &|place| Some(hour.latency_ms[place]?.p99)),
            ],
            polled: vec![series("found by polling", &|place| {
                share(&hour.outcomes[place])
            })],
            submits: vec![
                series("accepted", &accepted),
                series("not accepted", &|place| {
                    Some(all_submits(place)? - accepted(place)?)
                }),
            ],
            open: vec![
                series("open", &gauge("open")),
                series("overdue", &gauge("overdue")),
            ],
            started_at: started_at.as_seconds(),
            times,
        }
    }
}

/// The ends of submits whose app got a task.
const ACCEPTED: [&str; 3] = ["accepted", "replayed", "repeated"];

/// The share of outcomes that a poll found, in percent. `None` without outcomes.
fn share(outcomes: &Counts) -> Option<f64> {
    let all: u64 = outcomes.values().sum();
    let polled = outcomes.get("poll").copied().unwrap_or_default();
    (all > 0).then(|| 100.0 * number(polled) / number(all))
}

impl Totals {
    pub fn of(hour: &HourMinutes, open: Option<u64>) -> Self {
        let sum = |counts: &Counts| counts.values().sum::<u64>();
        let total = |minutes: &[Counts]| minutes.iter().map(sum).sum();
        let mut outcomes = Counts::new();
        for (name, count) in hour.outcomes.iter().flatten() {
            *outcomes.entry(name).or_default() += count;
        }
        let accepted = hour.submits.iter().flatten();
        let accepted = accepted.filter(|(name, _)| ACCEPTED.contains(name));
        let accepted: u64 = accepted.map(|(_, count)| count).sum();
        let submits: u64 = total(&hour.submits);
        let worst = hour.latency_ms.iter().flatten();
        let worst = worst.map(|latency| latency.p99).reduce(f64::max);
        let polled = outcomes.get("poll").copied().unwrap_or_default();
        let all = sum(&outcomes);
        Self {
            callbacks: total(&hour.callbacks),
            busiest_minute: hour.callbacks.iter().map(sum).max().unwrap_or_default(),
            latency: worst.map(|worst| format!("{worst:.1} ms")),
            outcomes: all,
            found_by_poll: (all > 0).then(|| (100 * polled + all / 2) / all),
            submits,
            submits_failed: submits - accepted,
            open,
            overdue: hour
                .gauges
                .iter()
                .rev()
                .flatten()
                .find_map(|gauges| gauges.get("overdue").copied()),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of one hour is far below 2^52"
)]
const fn number(count: u64) -> f64 {
    count as f64
}
