//! The prompts of the demo: first as many of those with a trouble as fit, then well-behaved ones.

use serde_json::{Value, json};

use crate::domain::kind::Kind;

/// A misbehaviour that the simulator is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Fails,
    CallbackLost,
    CalledBackTwice,
    CalledBackEarly,
}

/// One prompt, before it is submitted.
#[derive(Debug, Clone, Copy)]
pub struct Prompt {
    pub subject: &'static str,
    pub size: &'static str,
    pub kind: Kind,
    pub trouble: Option<Trouble>,
}

const SUBJECTS: [&str; 12] = [
    "a lighthouse",
    "a cute cat",
    "a rainy market",
    "a paper boat",
    "an orchard",
    "a night train",
    "a fox in snow",
    "a harbour",
    "a greenhouse",
    "a street lamp",
    "a mountain lake",
    "an old bicycle",
];

const SIZES: [&str; 8] = [
    "1:1", "16:9", "9:16", "4:3", "1024x768", "3:2", "2:3", "512x512",
];

const TROUBLES: [Trouble; 4] = [
    Trouble::Fails,
    Trouble::CallbackLost,
    Trouble::CalledBackTwice,
    Trouble::CalledBackEarly,
];

/// Returns the first `count` prompts.
pub fn prompts(count: usize) -> Vec<Prompt> {
    (0..count)
        .map(|n| Prompt {
            subject: SUBJECTS[n % SUBJECTS.len()],
            size: SIZES[n % SIZES.len()],
            kind: kind(n),
            trouble: TROUBLES.get(n).copied(),
        })
        .collect()
}

/// The first two prompts without a trouble are a video and a sound.
fn kind(n: usize) -> Kind {
    match n.checked_sub(TROUBLES.len()) {
        Some(0) => Kind::Video,
        Some(1) => Kind::Audio,
        Some(_) | None => Kind::Image,
    }
}

impl Prompt {
    /// Returns the body of the submit.
    pub fn body(&self) -> Value {
        // Every task ends well before its first poll, so polls find only the outcome of the lost
        // callback.
        let magic = match self.trouble {
            Some(Trouble::Fails) => "fail,duration=700ms",
            Some(Trouble::CallbackLost) => "lost-callback,duration=900ms",
            Some(Trouble::CalledBackTwice) => "twice,duration=800ms",
            Some(Trouble::CalledBackEarly) => "early-callback",
            None => "duration=400ms..1400ms",
        };
        let prompt = format!("{} [sim:{magic}]", self.subject);
        match self.kind {
            Kind::Image => json!({"model": "z-image-turbo", "prompt": prompt, "size": self.size}),
            Kind::Video => json!({"model": "a-video-model", "prompt": prompt}),
            Kind::Audio => json!({"model": "a-sound-model", "prompt": prompt}),
        }
    }
}

impl Trouble {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::CallbackLost => "lost callback",
            Self::CalledBackTwice => "callback twice",
            Self::CalledBackEarly => "early callback",
        }
    }
}
