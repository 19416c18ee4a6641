//! Misbehaviours that are drawn at random, by probability and seed. They have the names and values
//! of the magic prompts.

use super::magic;

/// The misbehaviours of all tasks, each with its probability.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub seed: u64,
    pub faults: Vec<Fault>,
}

/// One misbehaviour and its probability: `lost-callback=0.1`, `late-callback=2s=0.1`.
#[derive(Clone, Debug)]
pub struct Fault {
    pub row: &'static magic::Row,
    argument: Option<String>,
    pub probability: f64,
}

impl Faults {
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            faults: Vec::new(),
        }
    }

    pub fn push(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// # Errors
    /// Fails as [`Fault::new`] does.
    pub fn with(mut self, instruction: &str, probability: f64) -> anyhow::Result<Self> {
        self.push(Fault::new(instruction, probability)?);
        Ok(self)
    }
}

impl Fault {
    /// Creates a fault from `instruction`, written as in a magic prompt: `lost-callback`,
    /// `late-callback=2s`.
    ///
    /// # Errors
    /// Fails if no magic prompt has that name or takes that value, or if the probability is not
    /// between 0 and 1.
    pub fn new(instruction: &str, probability: f64) -> anyhow::Result<Self> {
        let (name, argument) = match instruction.split_once('=') {
            Some((name, argument)) => (name, Some(argument.to_owned())),
            None => (instruction, None),
        };
        let row = magic::find_row(name)
            .ok_or_else(|| anyhow::anyhow!("there is no misbehaviour named {name:?}"))?;
        let any = &mut fastrand::Rng::with_seed(0);
        anyhow::ensure!(
            row.value(argument.as_deref(), any).is_some(),
            "{name} does not take the value of {instruction:?}"
        );
        anyhow::ensure!(
            (0.0..=1.0).contains(&probability),
            "the probability of {name} must be between 0 and 1, not {probability}"
        );
        Ok(Self {
            row,
            argument,
            probability,
        })
    }

    pub fn value(&self, random: &mut fastrand::Rng) -> magic::Value {
        self.row
            .value(self.argument.as_deref(), random)
            .expect("it was checked when the fault was made")
    }
}

impl std::str::FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (instruction, probability) = text.rsplit_once('=').ok_or_else(|| {
            anyhow::anyhow!("expected NAME=PROBABILITY or NAME=VALUE=PROBABILITY, got {text:?}")
        })?;
        let probability = probability
            .parse()
            .map_err(|_| anyhow::anyhow!("{probability:?} is not a number"))?;
        Self::new(instruction, probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_needs_a_known_name_and_a_probability() {
        assert!("lost-callback=0.1".parse::<Fault>().is_ok());
        assert!("late-callback=1s..2s=0.1".parse::<Fault>().is_ok());
        for bad in [
            "lost-calback=0.1",
            "lost-callback",
            "lost-callback=2",
            "lost-callback=NaN",
            "lost-callback=3=0.1",
            "late-callback=soon=0.1",
        ] {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }
}
