//! Turns samples into figures: the rounds of a comparison, their medians and ranges, and whether a
//! goal is met.

use serde::{Deserialize, Serialize};

use crate::trial::{Case, Sample, Setting};

/// A figure over all rounds, or the reason why there is none.
pub type Figure = Result<Range, String>;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Range {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// No goal: the figure is given for comparison.
    Beside,
}

/// One row of the table of goals.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Goal {
    pub what: String,
    pub bound: Bound,
    pub unit: String,
    pub figure: Figure,
}

/// One row of the table of details.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detail {
    pub name: String,
    pub disk: String,
    pub samples: Vec<Sample>,
}

/// All results of one comparison.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub goals: Vec<Goal>,
    pub details: Vec<Detail>,
    /// Parts that were skipped, with the reason, and other remarks.
    pub notes: Vec<String>,
}

/// Cases that ran alternately, several times.
pub struct Rounds {
    cases: Vec<Case>,
    /// For each round, one sample of each case.
    samples: Vec<Vec<Sample>>,
}

impl Range {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self {
            median,
            low: values[0],
            high: values[values.len() - 1],
        }
    }
}

impl Bound {
    /// Returns `None` if there is no goal.
    pub fn is_met_by(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(value >= least),
            Self::AtMost(most) => Some(value <= most),
            Self::Beside => None,
        }
    }

    pub fn with_unit(self, unit: &str) -> String {
        let text = match self {
            Self::AtLeast(least) => format!("≥ {least} {unit}"),
            Self::AtMost(most) => format!("≤ {most} {unit}"),
            Self::Beside => "–".to_owned(),
        };
        text.trim_end().to_owned()
    }
}

impl Rounds {
    /// Creates rounds from samples: for each round, one of each case.
    pub const fn of(cases: Vec<Case>, samples: Vec<Vec<Sample>>) -> Self {
        Self { cases, samples }
    }

    /// Runs each case once in every round: first, second, …, first, second, …
    pub async fn run(cases: Vec<Case>, rounds: usize, setting: &Setting) -> anyhow::Result<Self> {
        let mut samples = Vec::new();
        for round in 1..=rounds {
            let mut row = Vec::new();
            for case in &cases {
                let sample = case.run(setting).await?;
                eprintln!("  round {round}: {}, {}: {sample}", case.name, case.disk);
                row.push(sample);
            }
            samples.push(row);
        }
        Ok(Self::of(cases, samples))
    }

    /// Calculates a figure from the samples of these cases, round by round.
    pub fn figure(&self, names: &[&str], calculate: impl Fn(&[&Sample]) -> f64) -> Figure {
        let at: Vec<usize> = names.iter().map(|name| self.find(name)).collect();
        let mut values = Vec::new();
        for row in &self.samples {
            let samples: Vec<&Sample> = at.iter().map(|&at| &row[at]).collect();
            for (name, sample) in names.iter().zip(&samples) {
                if let Some(failure) = &sample.first_failure {
                    return Err(format!("{} failures in {name}: {failure}", sample.failures));
                }
            }
            values.push(calculate(&samples));
        }
        Ok(Range::of(values))
    }

    fn find(&self, name: &str) -> usize {
        let found = self.cases.iter().position(|case| case.name == name);
        found.unwrap_or_else(|| panic!("no case {name}"))
    }

    /// Returns the rate of one case divided by that of another.
    pub fn ratio(&self, one: &str, of_other: &str) -> Figure {
        self.figure(&[one, of_other], |of| of[0].per_second / of[1].per_second)
    }

    pub fn details(&self) -> Vec<Detail> {
        let details = self.cases.iter().enumerate().map(|(at, case)| Detail {
            name: case.name.to_owned(),
            disk: if case.target.is_durable() {
                case.disk.to_string()
            } else {
                "–".to_owned()
            },
            samples: self.samples.iter().map(|row| row[at].clone()).collect(),
        });
        details.collect()
    }
}

impl Findings {
    pub fn of(rounds: &Rounds) -> Self {
        Self {
            details: rounds.details(),
            ..Self::default()
        }
    }

    pub fn goal(&mut self, what: &str, bound: Bound, unit: &str, figure: Figure) {
        self.goals.push(Goal {
            what: what.to_owned(),
            bound,
            unit: unit.to_owned(),
            figure,
        });
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}
