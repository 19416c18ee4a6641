//! The plan of one task: its ending, its submit response, its callbacks and its files.
//!
//! A plan is drawn once, when the task is submitted. The faults (probabilities and a seed) come
//! first, then the magic prompt, which overrides them. The same seed, prompt and number of earlier
//! submits of that prompt always draw the same plan, in whatever order parallel submits arrive.

pub mod faults;
pub mod instruction;
pub mod magic;

use std::time::Duration;

use sha2::{Digest, Sha256};

use faults::Faults;

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub refusal: Option<Refusal>,
    /// How many submits of this prompt are refused before one is accepted. `None` refuses all of
    /// them.
    pub refusals_max: Option<u32>,
    /// Errors of the API carry their code as an integer, as in EvoLink's older documents.
    pub integer_codes: bool,
    pub answer_fault: Option<AnswerFault>,
    pub duration: Option<Duration>,
    pub ending: Ending,
    pub results: Results,
    /// Result URLs carry a signature that differs each time, as those of storage hosts do.
    pub signed_results: bool,
    pub callbacks: CallbackPlan,
    pub query_fault: Option<QueryFault>,
    pub query_faults_max: Option<u32>,
    pub file_fault: Option<FileFault>,
    pub file_faults_max: Option<u32>,
    /// The names of all misbehaviours drawn and requested, in the order applied. A later one may
    /// have undone an earlier one.
    pub misbehaviours: Vec<&'static str>,
}

/// The error for a submit that is refused before anything is accepted or charged.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    RateLimited { retry_after_s: Option<u32> },
    NoQuota,
    NoAccess,
    Internal,
    Unavailable,
    Invalid,
    TooLarge,
}

/// The fault in the response to a submit that was accepted and charged.
#[derive(Clone, Copy, Debug)]
pub enum AnswerFault {
    Reset,
    Stall(Duration),
    /// An error status, as from a proxy that lost its upstream.
    Status(u16),
    Html,
    NoId,
    NumberAsId,
    UnknownStatus,
    /// The task has already ended when the response is sent, and the response says so.
    AlreadyEnded,
    Truncated,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
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

/// What a completed task holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Results {
    #[default]
    OneFile,
    /// `result_data` alone, with an id, as models make that create an element or a persona.
    DataAlone,
    /// Two files, and `result_data` about both, as music has.
    Tracks,
}

/// The callbacks before the final one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stages {
    #[default]
    Final,
    /// Two with status processing.
    Progress,
    /// Those of music: a text, then the first track.
    Music,
}

#[derive(Clone, Debug, Default)]
pub struct CallbackPlan {
    pub when: When,
    /// How many more times the final callback is sent, after the first delivery has ended.
    pub repeats: u32,
    /// How many more copies of the first delivery are sent at the same time.
    pub parallel_copies: u32,
    pub stages: Stages,
    pub reordered: bool,
    pub conflicting: bool,
    pub form: Form,
}

/// When the final callback is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    #[default]
    AtTheEnd,
    AfterTheEnd(Duration),
    /// The task ends at once. The submit is answered only after the receiver has answered the
    /// callback.
    BeforeTheSubmitAnswer,
    Never,
}

/// The way in which the body of a final callback differs from what a query would return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
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
pub enum QueryFault {
    Status(u16),
    Html,
    WrongId,
    Stall(Duration),
}

#[derive(Clone, Copy, Debug)]
pub enum FileFault {
    Slow(Duration),
    Status(u16),
    Truncated,
    WrongType,
    Redirect,
}

impl Ending {
    /// Failed and cancelled tasks are not charged.
    pub fn is_charged(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithoutResults)
    }
}

impl Plan {
    /// Draws the plan. `earlier_submits` is how often this prompt was submitted before.
    pub fn draw(
        prompt: &str,
        earlier_submits: u32,
        faults: &Faults,
    ) -> Result<Self, instruction::BadInstruction> {
        let mut random = random_for(faults.seed, prompt, earlier_submits);
        let mut plan = Self::default();
        for fault in &faults.faults {
            if random.f64() < fault.probability {
                let value = fault.value(&mut random);
                fault.row.apply_to(&mut plan, value);
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
    fn the_magic_prompt_has_the_last_word() {
        let faults = Faults::seeded(1).with("lost-callback", 1.0).unwrap();
        let plan = Plan::draw("a cat [sim:well-behaved]", 0, &faults).unwrap();
        assert_eq!(plan.callbacks.when, When::AtTheEnd);
        assert_eq!(plan.misbehaviours, ["well-behaved"]);
    }
}
