//! What was refused in the last hour, by reason.

use strum::VariantArray as _;

use crate::observe::metrics::{CallbackRefusal, Counts, HandshakeFailure};

/// One reason.
#[derive(Debug)]
pub struct Refusal {
    pub reason: String,
    pub count: u64,
    pub advice: &'static str,
}

pub fn of_callbacks(counts: &Counts) -> Vec<Refusal> {
    let reasons = CallbackRefusal::VARIANTS.iter();
    of(
        counts,
        reasons.map(|reason| (reason.into_str(), reason.advice())),
    )
}

pub fn of_handshakes(counts: &Counts) -> Vec<Refusal> {
    let reasons = HandshakeFailure::VARIANTS.iter();
    of(
        counts,
        reasons.map(|reason| (reason.into_str(), reason.advice())),
    )
}

/// The reasons that occurred, the most frequent first.
fn of(
    counts: &Counts,
    reasons: impl Iterator<Item = (&'static str, &'static str)>,
) -> Vec<Refusal> {
    let occurred = reasons.filter_map(|(reason, advice)| {
        Some(Refusal {
            count: *counts.get(reason)?,
            reason: reason.replace('_', " "),
            advice,
        })
    });
    let mut occurred: Vec<Refusal> = occurred.collect();
    occurred.sort_by_key(|refusal| std::cmp::Reverse(refusal.count));
    occurred
}
