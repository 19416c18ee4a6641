//! The things that may happen to a task, and generators of any number of them.

use std::time::Duration;

use evolink_receiver::domain::event::EventType;
use evolink_receiver::domain::observation::Source;
use evolink_receiver::domain::task::confirmation::{Confirm, Policy};
use evolink_receiver::domain::task::{SubmitEnd, Task, Verdict};
use evolink_receiver::domain::timestamp::Timestamp;
use proptest::prelude::*;

use super::{PACE, observation};

pub const START: Timestamp = Timestamp::from_millis(1_757_165_031_007);

/// One thing that happens to a task.
#[derive(Clone, Debug)]
pub enum Step {
    See {
        status: &'static str,
        progress: Option<u8>,
        results: &'static str,
        source: Source,
    },
    Miss,
    AskInVain,
    PutOff,
    AskSoon,
    GiveUp,
    EndSubmit(SubmitEnd),
}

impl Step {
    /// The same observation from another source.
    pub fn by(mut self, way: Source) -> Self {
        if let Self::See { source, .. } = &mut self {
            *source = way;
        }
        self
    }

    pub fn apply(
        &self,
        task: &mut Task,
        now: Timestamp,
        policy: &Policy,
    ) -> (Option<Verdict>, Option<EventType>) {
        match self {
            Self::See {
                status,
                progress,
                results,
                source,
            } => {
                let progress =
                    progress.map_or(String::new(), |value| format!(r#","progress":{value}"#));
                let before = (task.state(), progress_of(task));
                let seen = observation(status, &format!("{progress}{results}"));
                let seen = task.see(&seen, *source, now, policy);
                let moved = before != (task.state(), progress_of(task));
                assert_eq!(seen.moved, moved, "{self:?} on {task:?}");
                let conflict = seen.doubted.filter(|_| seen.verdict == Verdict::Conflict);
                if let Some(conflict) = conflict {
                    task.claim_conflict(conflict.state, now, &PACE);
                }
                return (Some(seen.verdict), seen.event);
            }
            // EvoLink is polled only about a task whose id is known.
            Self::Miss if task.task_id().is_some() => return (None, task.miss(now, &PACE)),
            Self::AskInVain if task.task_id().is_some() => task.asked_in_vain(now, &PACE),
            Self::PutOff => task.put_off(Duration::from_secs(30), now, &PACE),
            Self::GiveUp => return (None, task.give_up(now)),
            Self::EndSubmit(end) => task.end_submit(*end),
            Self::AskSoon => task.ask_soon(now, &PACE),
            Self::Miss | Self::AskInVain => {}
        }
        (None, None)
    }
}

/// The progress of a task, 0 before its id is known.
pub fn progress_of(task: &Task) -> u8 {
    task.accepted().map_or(0, |accepted| accepted.progress)
}

pub const ONE: &str = r#","results":["https://h/a"]"#;
pub const OTHER: &str = r#","results":["https://h/b"]"#;
pub const NONE: &str = "";

pub fn confirm() -> impl Strategy<Value = Confirm> {
    prop::sample::select(Confirm::ALL.to_vec())
}

pub fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![
        Source::Submit,
        Source::Callback,
        Source::Poll,
        Source::Replay,
    ])
}

pub fn progress() -> impl Strategy<Value = Option<u8>> {
    prop::option::of(0..=100_u8)
}

pub fn see(status: &'static str, results: &'static str) -> impl Strategy<Value = Step> {
    (progress(), source()).prop_map(move |(progress, source)| Step::See {
        status,
        progress,
        results,
        source,
    })
}

pub fn running() -> impl Strategy<Value = Step> {
    prop_oneof![
        see("pending", NONE),
        see("processing", NONE),
        see("paused", NONE),
        see("queued", NONE)
    ]
}

pub fn outcome() -> impl Strategy<Value = Step> {
    prop_oneof![
        see("completed", ONE),
        see("completed", OTHER),
        see("completed", NONE),
        see("failed", NONE),
        see("cancelled", NONE),
    ]
}

/// Things that happen although EvoLink reports nothing.
pub fn silence() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Miss),
        Just(Step::AskInVain),
        Just(Step::PutOff),
        Just(Step::AskSoon),
        Just(Step::GiveUp),
        Just(Step::EndSubmit(SubmitEnd::Unknown)),
        Just(Step::EndSubmit(SubmitEnd::Refused)),
    ]
}

pub fn anything() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![3 => running(), 3 => outcome(), 2 => silence()],
        0..24,
    )
}
