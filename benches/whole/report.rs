//! Writes the results for people (`benches/README.md`) and for programs (JSON under `target/`).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::figures::{Detail, Figure, Findings, Goal, Range};
use crate::trial::Sample;

/// A part of `benches/README.md` that this program writes.
pub struct Section {
    /// The name in its markers.
    pub name: &'static str,
    /// The level of its headings.
    pub level: &'static str,
    /// Its comparisons, in order.
    pub comparisons: Vec<String>,
}

/// One comparison, and the circumstances in which it was made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub name: String,
    pub facts: Facts,
    pub findings: Findings,
}

impl Report {
    /// Saves the report beside those of other comparisons. Replaces an older one of the same
    /// comparison.
    pub fn save(&self) -> anyhow::Result<()> {
        let folder = folder();
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.name));
        fs::write(path, serde_json::to_string(self)? + "\n")?;
        Ok(())
    }

    fn load(name: &str) -> Option<Self> {
        let text = fs::read_to_string(folder().join(format!("{name}.json"))).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// Formats goals and notes for the terminal.
pub fn lines(findings: &Findings) -> String {
    let goals = findings.goals.iter().map(goal_line);
    let notes = findings.notes.iter().map(|note| format!("{note}\n"));
    goals.chain(notes).collect()
}

/// Puts the saved reports of `section` between its markers in `benches/README.md`.
pub fn write_readme(section: &Section) -> anyhow::Result<()> {
    let names = section.comparisons.iter();
    let reports: Vec<Report> = names.filter_map(|name| Report::load(name)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let text = fs::read_to_string(&path)?;
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {}: {side} -->", section.name));
    let (before, rest) = text.split_once(&begin).context("no begin marker")?;
    let (_, after) = rest.split_once(&end).context("no end marker")?;
    let tables = tables(&reports, section.level)?;
    let text = format!("{before}{begin}\n{tables}\n{end}{after}");
    fs::write(path, text)?;
    Ok(())
}

fn tables(reports: &[Report], level: &str) -> anyhow::Result<String> {
    let mut text = format!("\n{level} Goals\n\nMedian of the rounds, and their range.\n\n");
    text.push_str("| what | goal | measured | met |\n| --- | --- | --- | --- |\n");
    for goal in reports.iter().flat_map(|report| &report.findings.goals) {
        text.push_str(&goal_line(goal));
    }
    let notes = reports.iter().flat_map(|report| &report.findings.notes);
    for note in notes {
        write!(text, "\n- {note}")?;
    }
    write!(text, "\n\n{level} Circumstances\n\n")?;
    text.push_str("| comparison | machine | load average before | date | commit | rounds | a sync takes (median, p99 in ms) | command |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for Report { name, facts, .. } in reports {
        let syncs = facts.syncs.iter();
        let syncs: Vec<String> = syncs
            .map(|(disk, p50, p99)| format!("{disk}: {}, {}", short(*p50), short(*p99)))
            .collect();
        writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} × {:?} | {} | `{}` |",
            facts.machine,
            facts.busy_before,
            facts.date,
            facts.commit,
            facts.rounds,
            facts.window,
            syncs.join("; "),
            facts.command
        )?;
    }
    if reports
        .iter()
        .any(|report| !report.findings.details.is_empty())
    {
        write!(
            text,
            "\n{level} Details\n\nMedians of the rounds; the rate with its range. Times in ms, memory in MiB.\n"
        )?;
    }
    for Report { name, findings, .. } in reports {
        if !findings.details.is_empty() {
            write!(
                text,
                "\n{level}# {name}\n\n{}",
                details_table(&findings.details)?
            )?;
        }
    }
    Ok(text)
}

fn goal_line(goal: &Goal) -> String {
    let met = match &goal.figure {
        Ok(range) => match goal.bound.is_met_by(range.median) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        },
        Err(_) => "**no figure**",
    };
    let goal_text = goal.bound.with_unit(&goal.unit);
    let measured = shown(&goal.figure, &goal.unit);
    format!("| {} | {goal_text} | {measured} | {met} |\n", goal.what)
}

fn shown(figure: &Figure, unit: &str) -> String {
    match figure {
        Ok(Range { median, low, high }) => {
            let space = if unit.is_empty() { "" } else { " " };
            let (median, low, high) = (short(*median), short(*low), short(*high));
            format!("{median}{space}{unit} ({low} to {high})")
        }
        Err(reason) => reason.clone(),
    }
}

type Column = (&'static str, fn(&Sample) -> Option<f64>);

const COLUMNS: [Column; 12] = [
    ("p50", |sample| Some(sample.p50)),
    ("p99", |sample| Some(sample.p99)),
    ("p99.9", |sample| Some(sample.p999)),
    ("max", |sample| Some(sample.max)),
    ("rows a commit", |sample| sample.rows_per_commit),
    ("a commit", |sample| sample.commit_mean),
    ("server CPU, µs a request", |sample| {
        Some(sample.server_cpu_us)
    }),
    ("load's CPUs", |sample| Some(sample.client_cpus)),
    ("memory idle", |sample| Some(sample.memory_idle)),
    ("memory peak", |sample| Some(sample.memory_peak)),
    ("reads/s", |sample| sample.reads_per_second),
    ("reads p99", |sample| sample.reads_p99),
];

/// Formats the table of details. Leaves out columns for which no sample has a value.
fn details_table(details: &[Detail]) -> anyhow::Result<String> {
    let samples = || details.iter().flat_map(|detail| &detail.samples);
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(_, value)| samples().any(|sample| value(sample).is_some()))
        .collect();
    let mut text = String::from("| | disk | per second | failures |");
    for (name, _) in &columns {
        write!(text, " {name} |")?;
    }
    writeln!(text, "\n|{}", " --- |".repeat(columns.len() + 4))?;
    for detail in details {
        let rate = detail.samples.iter().map(|sample| sample.per_second);
        let rate = Range::of(rate.collect());
        let failures: usize = detail.samples.iter().map(|sample| sample.failures).sum();
        write!(
            text,
            "| {} | {} | {} ({} to {}) | {failures} |",
            detail.name,
            detail.disk,
            short(rate.median),
            short(rate.low),
            short(rate.high)
        )?;
        for (_, value) in &columns {
            let values: Vec<f64> = detail.samples.iter().filter_map(value).collect();
            let shown = if values.is_empty() {
                String::new()
            } else {
                short(Range::of(values).median)
            };
            write!(text, " {shown} |")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench")
}

/// Formats a number with three significant digits.
pub fn short(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 {
        let digits = format!("{value:.0}");
        return grouped(&digits);
    }
    let decimals = match magnitude {
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Groups digits as in 12,345.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
