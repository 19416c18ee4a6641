//! What one task shall do: its ending, its answer, its callbacks, its files. A plan is drawn once, when the task is
//! submitted, first from the faults (probabilities and a seed), then from the magic prompt, which has the last word.
//! The same seed, prompt and number of earlier submits of that prompt always draw the same plan, in whatever order
//! parallel submits arrive.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{instruction, magic};

#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub refusal: Option<Refusal>,
    /// How many submits of this prompt are refused before one is accepted; `None` is all of them.
    pub refusals_max: Option<u32>,
    /// Error codes of the API as integers, as the older documents have them.
    pub integer_codes: bool,
    pub answer_fault: Option<AnswerFault>,
    pub duration: Option<Duration>,
    pub ending: Ending,
    pub callbacks: CallbackPlan,
    pub query_fault: Option<u16>,
    pub query_faults_max: Option<u32>,
    pub file_fault: Option<FileFault>,
    pub file_faults_max: Option<u32>,
}

/// A submit answered with an error before anything was accepted or charged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    RateLimited { retry_after_s: Option<u32> },
    NoQuota,
    NoAccess,
    Internal,
    Unavailable,
}

/// A submit accepted and charged, whose answer is lost or unreadable.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnswerFault {
    Reset,
    Stall(Duration),
    BadGateway,
    Html,
    NoId,
    Truncated,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    Completed,
    CompletedWithoutResults,
    ContentPolicy,
    ServiceError,
    FailedWithoutError,
    Cancelled,
    CanceledWithOneL,
    Never,
}

#[derive(Clone, Debug, Default)]
pub(super) struct CallbackPlan {
    pub when: When,
    /// Further deliveries after the first one ended.
    pub repeats: u32,
    /// Further copies of the first delivery, sent at the same time.
    pub parallel_copies: u32,
    pub staged: bool,
    pub reordered: bool,
    pub conflicting: bool,
    pub form: Form,
}

/// When the final callback is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum When {
    #[default]
    AtTheEnd,
    AfterTheEnd(Duration),
    /// The task ends at once, and the first answer to its callback is awaited before the submit is answered.
    BeforeTheSubmitAnswer,
    Never,
}

/// How the body of a final callback differs from what a query would answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    #[default]
    AsQueried,
    NotJson,
    Array,
    NoId,
    NoStatus,
    WrongId,
    Wrapped,
    Renamed,
    UnknownStatus,
    NoResults,
    ExtraFields,
    ErrorAsText,
    Huge,
    Encoded,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum FileFault {
    Slow(Duration),
    Status(u16),
    Truncated,
    WrongType,
    Redirect,
}

impl Ending {
    /// Failed and cancelled tasks are not charged.
    pub(super) fn is_charged(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithoutResults)
    }
}

impl Plan {
    /// `earlier_submits`: how often this prompt was submitted before.
    pub(super) fn draw(
        prompt: &str,
        earlier_submits: u32,
        faults: &Faults,
    ) -> Result<Self, instruction::BadInstruction> {
        let mut random = random_for(faults.seed, prompt, earlier_submits);
        let mut plan = Self::default();
        for fault in &faults.faults {
            if random.f64() < fault.probability {
                fault.row.apply_default(&mut plan);
            }
        }
        instruction::apply(prompt, &mut plan, &mut random)?;
        let refusals_are_over = plan
            .refusals_max
            .is_some_and(|refusals_max| earlier_submits >= refusals_max);
        if refusals_are_over {
            plan.refusal = None;
        }
        Ok(plan)
    }
}

fn random_for(seed: u64, prompt: &str, earlier_submits: u32) -> fastrand::Rng {
    let digest = Sha256::new()
        .chain_update(seed.to_be_bytes())
        .chain_update(earlier_submits.to_be_bytes())
        .chain_update(prompt)
        .finalize();
    let (first, _) = digest
        .split_first_chunk()
        .expect("a SHA-256 digest has more than eight bytes");
    fastrand::Rng::with_seed(u64::from_be_bytes(*first))
}

/// Misbehaviour of all tasks, by probability. The names are those of the magic prompts.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub seed: u64,
    faults: Vec<Fault>,
}

/// One misbehaviour and how likely it is: `lost-callback=0.1`.
#[derive(Clone, Debug)]
pub struct Fault {
    row: &'static magic::Row,
    probability: f64,
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
    /// When no magic prompt has that name, or the probability is not between 0 and 1.
    pub fn with(mut self, name: &str, probability: f64) -> anyhow::Result<Self> {
        self.push(Fault::new(name, probability)?);
        Ok(self)
    }
}

impl Fault {
    /// # Errors
    /// When no magic prompt has that name, or the probability is not between 0 and 1.
    pub fn new(name: &str, probability: f64) -> anyhow::Result<Self> {
        let row = magic::find_row(name)
            .ok_or_else(|| anyhow::anyhow!("there is no misbehaviour named {name:?}"))?;
        anyhow::ensure!(
            (0.0..=1.0).contains(&probability),
            "the probability of {name} must be between 0 and 1, not {probability}"
        );
        Ok(Self { row, probability })
    }
}

impl std::str::FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, probability) = text
            .split_once('=')
            .ok_or_else(|| anyhow::anyhow!("expected NAME=PROBABILITY, got {text:?}"))?;
        let probability = probability
            .parse()
            .map_err(|_| anyhow::anyhow!("{probability:?} is not a number"))?;
        Self::new(name, probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(seed: u64, prompt: &str, earlier_submits: u32) -> bool {
        let faults = Faults::seeded(seed).with("lost-callback", 0.5).unwrap();
        Plan::draw(prompt, earlier_submits, &faults)
            .unwrap()
            .callbacks
            .when
            == When::Never
    }

    #[test]
    fn a_seed_draws_the_same_faults_again_and_about_as_many_as_asked_for() {
        let draws = |seed| -> Vec<bool> {
            (0..1000)
                .map(|n| lost(seed, &format!("prompt {n}"), 0))
                .collect()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        let lost_count = draws(7).iter().filter(|lost| **lost).count();
        assert!((400..600).contains(&lost_count), "{lost_count}");
    }

    #[test]
    fn a_fault_needs_a_known_name_and_a_probability() {
        assert!("lost-callback=0.1".parse::<Fault>().is_ok());
        for bad in [
            "lost-calback=0.1",
            "lost-callback",
            "lost-callback=2",
            "lost-callback=NaN",
        ] {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_magic_prompt_has_the_last_word() {
        let faults = Faults::seeded(1).with("lost-callback", 1.0).unwrap();
        let plan = Plan::draw("a cat [sim:well-behaved]", 0, &faults).unwrap();
        assert_eq!(plan.callbacks.when, When::AtTheEnd);
    }
}
