//! The results of the demo, as a table for people and as one JSON object for programs. Every number
//! was observed, either at the internal API or by the simulator.

use std::io::Write;

use serde::Serialize;

use super::board::Row;
use super::prompts::Trouble;
use super::stage::Stage;
use crate::commands::table::{Table, column};
use crate::observe::untrusted::Untrusted;

/// Beyond this many tasks, only the first ones are listed. They include all with a trouble.
const ROWS_MAX: usize = 16;

/// An example of a first submit by hand.
const EXAMPLE: &str = r#"{"model": "z-image-turbo", "prompt": "a cute cat", "size": "16:9"}"#;

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Summary {
    pub tasks: usize,
    pub completed: usize,
    pub failed: usize,
    /// Outcomes that a poll found because no callback came. A poll also confirms the callback of a
    /// sound.
    pub found_by_poll: usize,
    /// Callbacks that repeated a known outcome.
    pub duplicates: usize,
    /// Tasks whose first callback was recorded before the answer to their submit.
    pub early_callbacks: usize,
    /// Submits that the simulator accepted and charged, by its own count.
    pub charges: u64,
    pub elapsed_ms: u64,
}

impl Summary {
    pub fn of(rows: &[Row], charges: u64, elapsed_ms: u64) -> Self {
        let count = |is_it: fn(&Row) -> bool| rows.iter().filter(|row| is_it(row)).count();
        Self {
            tasks: rows.len(),
            completed: count(|row| row.state == "completed"),
            failed: count(|row| row.state == "failed"),
            found_by_poll: count(|row| {
                row.is_terminal() && row.source == "poll" && row.history.callbacks == 0
            }),
            duplicates: rows.iter().map(|row| row.history.duplicates).sum(),
            early_callbacks: count(|row| row.history.is_early),
            charges,
            elapsed_ms,
        }
    }

    /// Writes two sentences.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{} in {}.{:03} s: {} completed, {} failed. The simulator counted {}.",
            number(self.tasks as u64, "task"),
            self.elapsed_ms / 1000,
            self.elapsed_ms % 1000,
            self.completed,
            self.failed,
            number(self.charges, "charge"),
        )?;
        writeln!(
            out,
            "{} found by polling, {} not applied, {}.",
            number(self.found_by_poll as u64, "outcome"),
            number(self.duplicates as u64, "repeated callback"),
            number(self.early_callbacks as u64, "early callback"),
        )
    }
}

/// Writes a table with a row for each task.
pub fn write_table(rows: &[Row], out: &mut impl Write) -> std::io::Result<()> {
    let mut table = Table::new([
        column("prompt").cut(8),
        column("trouble").cut(12),
        column("outcome"),
        column("source").drop(2),
        column("callbacks").right().drop(1),
        column("applied").right().drop(3),
        column("after").right(),
    ]);
    for row in rows.iter().take(ROWS_MAX) {
        table.add_row([
            row.prompt.subject.to_owned(),
            row.prompt.trouble.map_or("", Trouble::as_str).to_owned(),
            row.state.clone(),
            row.source.clone(),
            row.history.callbacks.to_string(),
            row.history.outcomes.to_string(),
            row.outcome_after(),
        ]);
    }
    writeln!(out)?;
    table.write(out)?;
    if rows.len() > ROWS_MAX {
        writeln!(out, "… and {} more", rows.len() - ROWS_MAX)?;
    }
    writeln!(out)
}

/// Writes commands to try while the demo runs.
pub fn write_invitation(stage: &Stage, rows: &[Row], out: &mut impl Write) -> std::io::Result<()> {
    let base = stage.api.base_url();
    let task = rows
        .iter()
        .find(|row| row.prompt.trouble == Some(Trouble::CallbackLost))
        .or(rows.first());
    writeln!(
        out,
        "\nThe internal API is at {base}. Try, in another terminal:\n"
    )?;
    writeln!(out, "  curl '{base}/v1/tasks?limit=3'")?;
    if let Some(row) = task {
        writeln!(out, "  curl '{base}/v1/tasks/{}/events'", row.task_id)?;
    }
    writeln!(out, "  curl '{base}/v1/images/generations' \\")?;
    writeln!(out, "    -H 'Content-Type: application/json' \\")?;
    writeln!(out, "    -d '{EXAMPLE}'")?;
    if let Some(url) = rows.iter().find_map(|row| row.result_url.as_deref()) {
        writeln!(out, "  curl -o image.webp '{}'", Untrusted(url))?;
    }
    writeln!(out, "  evolink-receiver tasks list --url {base}")?;
    writeln!(
        out,
        "  evolink-receiver submit 'a cute cat' --wait --url {base}"
    )?;
    if let Some(folder) = stage.kept_folder() {
        writeln!(
            out,
            "\nDatabase and certificate stay in {}.",
            folder.display()
        )?;
    }
    writeln!(out, "\nIt goes on until Ctrl-C.")
}

fn number(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
