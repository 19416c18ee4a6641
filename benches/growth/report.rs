//! Writes the table in `benches/README.md`, section Growth.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use evolink_receiver::clock::Clock;

const BEGIN: &str = "<!-- growth: begin -->";
const END: &str = "<!-- growth: end -->";

/// The most that an operation may take on a large store, as a multiple of the time on a small one.
const GOAL: f64 = 1.5;

const READY_GOAL_MS: f64 = 1000.0;

/// The cost of one operation in each round, in microseconds.
pub struct Line {
    name: &'static str,
    small: Vec<f64>,
    large: Vec<f64>,
}

/// The results on one database.
pub struct Part {
    pub engine: String,
    pub lines: Vec<Line>,
    pub ready_ms: Vec<f64>,
    /// The size of the large store in bytes, and its number of tasks.
    pub bytes: (i64, i64),
}

pub struct Report {
    parts: Vec<Part>,
    sizes: String,
    circumstances: String,
}

pub fn add_to(lines: &mut Vec<Line>, name: &'static str, is_large: bool, micros: f64) {
    let at = lines.iter().position(|line| line.name == name);
    let at = at.unwrap_or_else(|| {
        lines.push(Line {
            name,
            small: Vec::new(),
            large: Vec::new(),
        });
        lines.len() - 1
    });
    let line = &mut lines[at];
    let times = if is_large {
        &mut line.large
    } else {
        &mut line.small
    };
    times.push(micros);
}

impl Report {
    pub fn new(tasks: i64, small: i64, rounds: usize) -> anyhow::Result<Self> {
        let date = Clock::System.now().to_string();
        let cores = std::thread::available_parallelism()?;
        let words: Vec<String> = std::env::args()
            .skip(1)
            .filter(|word| word != "--bench")
            .collect();
        let given = if words.is_empty() {
            String::new()
        } else {
            format!(" -- {}", words.join(" "))
        };
        Ok(Self {
            parts: Vec::new(),
            sizes: format!("{tasks} tasks stored, and {small}"),
            circumstances: format!(
                "{} cores, {}, commit {}, {rounds} rounds in turns, `cargo bench --bench growth{given}`",
                cores,
                date.get(..10).unwrap_or(&date),
                env!("EVOLINK_RECEIVER_COMMIT"),
            ),
        })
    }

    pub fn add(&mut self, part: Part) {
        self.parts.push(part);
    }

    pub fn table(&self) -> String {
        let mut text = format!(
            "{}: medians of the rounds, of the ratio with its range. {}.\n\n",
            self.sizes, self.circumstances
        );
        text.push_str("| | | small, µs | large, µs | ratio | goal | met |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for part in &self.parts {
            part.lines
                .iter()
                .for_each(|line| line.write(&part.engine, &mut text));
            let ready = Range::of(part.ready_ms.clone());
            let met = met(ready.median <= READY_GOAL_MS);
            let engine = &part.engine;
            let _ = writeln!(
                text,
                "| {engine} | start to ready, a million open tasks | | {:.0} ms | {:.0} to {:.0} ms | ≤ {READY_GOAL_MS} ms | {met} |",
                ready.median, ready.low, ready.high
            );
            let (bytes, tasks) = part.bytes;
            let _ = writeln!(
                text,
                "| {engine} | bytes a task | | {} | | | |",
                bytes / tasks
            );
        }
        text
    }

    /// Replaces the table in `benches/README.md`.
    pub fn write_readme(&self) -> anyhow::Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
        let text = std::fs::read_to_string(&path)?;
        let (before, rest) = text.split_once(BEGIN).context("no begin marker")?;
        let (_, after) = rest.split_once(END).context("no end marker")?;
        let table = self.table();
        std::fs::write(path, format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))?;
        Ok(())
    }
}

impl Line {
    fn write(&self, engine: &str, text: &mut String) {
        let ratios = self
            .large
            .iter()
            .zip(&self.small)
            .map(|(large, small)| large / small);
        let ratio = Range::of(ratios.collect());
        let small = Range::of(self.small.clone()).median;
        let large = Range::of(self.large.clone()).median;
        let _ = writeln!(
            text,
            "| {engine} | {} | {small:.0} | {large:.0} | {:.2} ({:.2} to {:.2}) | ≤ {GOAL} | {} |",
            self.name,
            ratio.median,
            ratio.low,
            ratio.high,
            met(ratio.median <= GOAL)
        );
    }
}

const fn met(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "**no**" }
}

struct Range {
    median: f64,
    low: f64,
    high: f64,
}

impl Range {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            low: values[0],
            high: values[values.len() - 1],
        }
    }
}
