//! From samples to figures: the rounds of a comparison, medians and ranges over them, and whether a goal is met.

use serde::{Deserialize, Serialize};

use crate::trial::{Case, Sample, Setting};

/// A figure over all rounds; `Err` says why there is none.
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
    /// No goal of its own: it stands beside one.
    Beside,
}

/// One line of the table of goals.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Goal {
    pub what: String,
    pub bound: Bound,
    pub unit: String,
    pub figure: Figure,
}

/// One line of the table of details.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detail {
    pub name: String,
    pub disk: String,
    pub samples: Vec<Sample>,
}

/// All that one comparison found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub goals: Vec<Goal>,
    pub details: Vec<Detail>,
    /// Parts that could not be run, and why; what else is to be known.
    pub notes: Vec<String>,
}

/// Cases that ran alternately, several times.
pub struct Rounds {
    cases: Vec<Case>,
    /// Of each round, one sample a case.
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
    /// `None` if there is nothing to meet.
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
    /// Of each round, one sample a case.
    pub const fn of(cases: Vec<Case>, samples: Vec<Vec<Sample>>) -> Self {
        Self { cases, samples }
    }

    /// Runs each case once a round: first, second, …, first, second, …
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

    /// What `calculate` makes of the samples of these cases, round by round.
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

    /// What rate one case has of another's.
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
