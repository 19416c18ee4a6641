//! The progress display: bars on a terminal, otherwise a line for each change.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::board::Row;

/// Beyond this many tasks, only their number is shown.
const ROWS_MAX: usize = 16;

/// A running task's bar fills up in the longest time that such a task takes, and stops before the
/// end.
const RUNNING_MS: u64 = 3000;
const RUNNING_PERCENT_MAX: u64 = 90;

pub struct Progress {
    kind: Kind,
}

enum Kind {
    Bars {
        bars: Vec<ProgressBar>,
        total: ProgressBar,
        _screen: MultiProgress,
    },
    Lines {
        /// The number of outcomes that were reported.
        reported: usize,
    },
}

impl Progress {
    pub fn new(rows: &[Row]) -> Self {
        let kind = if stderr().is_terminal() {
            bars(rows)
        } else {
            Kind::Lines { reported: 0 }
        };
        Self { kind }
    }

    /// Updates the display after row `n` has changed its state.
    pub fn changed(&mut self, rows: &[Row], n: usize, out: &mut impl Write) -> std::io::Result<()> {
        let row = &rows[n];
        match &mut self.kind {
            Kind::Bars { bars, .. } => {
                if let Some(bar) = bars.get(n) {
                    bar.set_message(message(row));
                    if row.is_terminal() {
                        bar.set_position(100);
                        bar.finish();
                    }
                }
                Ok(())
            }
            Kind::Lines { .. } if rows.len() <= ROWS_MAX => {
                writeln!(out, "{:<16} {}", row.prompt.subject, message(row))
            }
            Kind::Lines { .. } => Ok(()),
        }
    }

    /// Updates the display. Called once for each poll of the tasks.
    pub fn tick(
        &mut self,
        rows: &[Row],
        elapsed: Duration,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let terminal = rows.iter().filter(|row| row.is_terminal()).count();
        match &mut self.kind {
            Kind::Bars { bars, total, .. } => {
                let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
                let percent = (elapsed.saturating_mul(100) / RUNNING_MS).min(RUNNING_PERCENT_MAX);
                for (bar, row) in bars.iter().zip(rows) {
                    if !row.is_terminal() && row.submission_id.is_some() {
                        bar.set_position(percent);
                    }
                    bar.tick();
                }
                total.set_position(terminal as u64);
            }
            Kind::Lines { reported } => {
                let step = rows.len().div_ceil(10);
                let is_due = terminal >= *reported + step || terminal == rows.len();
                if rows.len() > ROWS_MAX && is_due && terminal > *reported {
                    writeln!(out, "{terminal} of {} tasks have an outcome", rows.len())?;
                    *reported = terminal;
                }
            }
        }
        Ok(())
    }

    /// Leaves the bars in place, so that later output appears below them.
    pub fn finish(&self) {
        if let Kind::Bars { bars, total, .. } = &self.kind {
            for bar in bars {
                if !bar.is_finished() {
                    bar.abandon();
                }
            }
            total.abandon();
            // Move the cursor below the last bar. If stderr cannot be written, there is nothing to
            // move.
            let _ = writeln!(stderr());
        }
    }
}

fn bars(rows: &[Row]) -> Kind {
    let screen = MultiProgress::new();
    let style = style("{prefix:16!} {bar:20.cyan/dim} {wide_msg}");
    let shown = if rows.len() <= ROWS_MAX { rows } else { &[] };
    let bars = shown.iter().map(|row| {
        let bar = screen.add(ProgressBar::new(100).with_style(style.clone()));
        bar.set_prefix(row.prompt.subject);
        bar.set_message(message(row));
        bar
    });
    let bars = bars.collect();
    let total = ProgressBar::new(rows.len() as u64).with_style(self::style(
        "{prefix:16!} {bar:20.green/dim} {pos} of {len} tasks",
    ));
    let total = screen.add(total);
    total.set_prefix("outcomes");
    Kind::Bars {
        bars,
        total,
        _screen: screen,
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("a template of ours")
        .progress_chars("━╸─")
}

fn message(row: &Row) -> String {
    if row.submission_id.is_none() {
        return "submitting".to_owned();
    }
    if !row.is_terminal() {
        return row.state.clone();
    }
    let after = row.outcome_after();
    format!("{}, by {} after {after}", row.state, row.source)
}
