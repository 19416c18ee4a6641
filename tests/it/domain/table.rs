//! Every state × every kind of observation × every source, as one table for people to review.

use std::fmt::Write as _;
use std::time::Duration;

use evolink_receiver::domain::ids::{SubmissionId, TaskId};
use evolink_receiver::domain::observation::{Observation, Source};
use evolink_receiver::domain::task::confirmation::{Confirm, Policy};
use evolink_receiver::domain::task::{Accepted, Outcome, Phase, Stage, State, Task, Verdict};
use evolink_receiver::domain::timestamp::Timestamp;
use strum::VariantArray as _;

use super::steps::progress_of;
use super::{observation, policy};

const SOURCES: [Source; 4] = [
    Source::Submit,
    Source::Callback,
    Source::Poll,
    Source::Replay,
];
const NOW: Timestamp = Timestamp::from_millis(1_757_165_031_007);
const RESULTS: &str = r#","results":["https://h/a"]"#;

/// An observation, and how many empty polls came before it.
struct Case {
    name: &'static str,
    observation: Observation,
    empty_polls: u8,
    sources: &'static [Source],
}

fn cases() -> Vec<Case> {
    let case = |name, status, more| Case {
        name,
        observation: observation(status, more),
        empty_polls: 0,
        sources: &SOURCES,
    };
    let third_poll = Case {
        name: "completed, empty, third poll",
        observation: observation("completed", ""),
        empty_polls: 2,
        sources: &[Source::Poll],
    };
    vec![
        case("pending", "pending", ""),
        case("pending 50", "pending", r#","progress":50"#),
        case("processing", "processing", ""),
        case("processing 20", "processing", r#","progress":20"#),
        case("processing 50", "processing", r#","progress":50"#),
        case("unknown word", "paused", ""),
        case("unknown word 50", "paused", r#","progress":50"#),
        case("completed", "completed", RESULTS),
        case(
            "completed, signed anew",
            "completed",
            r#","results":["https://h/a?sig=2"]"#,
        ),
        case(
            "completed, other results",
            "completed",
            r#","results":["https://h/b"]"#,
        ),
        case("completed, empty", "completed", ""),
        third_poll,
        case("failed", "failed", ""),
        case("cancelled", "cancelled", ""),
    ]
}

/// A task in `state` as it would really be. A running one has progress 30.
fn task_in(state: State) -> Task {
    let submitted_at = NOW.before(Duration::from_secs(20));
    let accepted = |stage| {
        let is_running = matches!(stage, Stage::Processing | Stage::Unresolved);
        Phase::Accepted(Accepted {
            task_id: TaskId::parse("t").unwrap(),
            vouched_at: Some(submitted_at),
            stage,
            source: Source::Submit,
            progress: if is_running { 30 } else { 0 },
            claim: None,
        })
    };
    let ended = |outcome| {
        accepted(Stage::Ended {
            outcome,
            at: submitted_at,
        })
    };
    let mut task = Task::new(SubmissionId::new(submitted_at));
    task.phase = match state {
        State::Submitting => Phase::Submitting,
        State::SubmitUnknown => Phase::SubmitUnknown,
        State::Rejected => Phase::Rejected,
        State::Pending => accepted(Stage::Pending),
        State::Processing => accepted(Stage::Processing),
        State::Unresolved => accepted(Stage::Unresolved),
        State::Completed => {
            let digest = observation("completed", RESULTS).results_digest();
            ended(Outcome::Completed(digest))
        }
        State::Failed => ended(Outcome::Failed),
        State::Cancelled => ended(Outcome::Cancelled),
    };
    if matches!(state, State::Pending | State::Processing) {
        task.polling.next_at = Some(NOW.after(Duration::from_secs(40)));
    }
    if state == State::Unresolved {
        task.polling.missed_polls = 3;
        task.polling.next_at = Some(NOW.after(Duration::from_hours(1)));
    }
    task
}

/// The effect of `case` from `source` on a task in `state`, as one line.
fn effect(state: State, case: &Case, source: Source) -> String {
    let mut task = task_in(state);
    task.polling.empty_polls = case.empty_polls;
    let seen = task.see(&case.observation, source, NOW, &policy(Confirm::Never));
    let verdict = seen.verdict.into_str();
    let event = seen.event.map_or("-", |event| event.into_str());
    let shown = if seen.shown { "shown" } else { "-" };
    let poll = task.polling.next_at.map_or("no poll".to_owned(), |at| {
        format!("poll in {} s", at.since(NOW).as_secs())
    });
    let state = task.state().into_str();
    format!(
        "{verdict:9} | {state:10} {:3} | {event:15} | {shown:5} | {poll}",
        progress_of(&task)
    )
}

fn rows(state: State, case: &Case) -> Vec<(String, Vec<&'static str>)> {
    let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
    for source in case.sources {
        let effect = effect(state, case, *source);
        match rows.iter_mut().find(|(other, _)| *other == effect) {
            Some((_, sources)) => sources.push(source.into_str()),
            None => rows.push((effect, vec![source.into_str()])),
        }
    }
    rows
}

#[test]
fn what_each_observation_does_in_each_state() {
    let mut table = String::new();
    for &state in State::VARIANTS {
        for case in cases() {
            for (effect, sources) in rows(state, &case) {
                let sources = if sources.len() == SOURCES.len() {
                    "any".to_owned()
                } else {
                    sources.join(" ")
                };
                let (state, name) = (state.into_str(), case.name);
                writeln!(table, "{state:14} | {name:28} | {sources:22} | {effect}").unwrap();
            }
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
}

/// Outcomes in callbacks that some configurations do not accept without confirmation.
fn claims() -> Vec<(&'static str, Observation)> {
    let other_host = r#","results":["https://h/a","https://elsewhere/b"]"#;
    let objects = r#","results":[{"url":"https://h/a"}]"#;
    vec![
        ("completed", observation("completed", RESULTS)),
        (
            "completed, other host",
            observation("completed", other_host),
        ),
        ("completed, objects", observation("completed", objects)),
        ("succeeded", observation("succeeded", RESULTS)),
        ("completed, empty", observation("completed", "")),
        ("failed", observation("failed", "")),
        ("processing", observation("processing", "")),
    ]
}

/// The effect of a callback on a task, and the effect of EvoLink's answers to polls after that.
fn effect_of_claim(task: &mut Task, claim: &Observation, policy: &Policy) -> String {
    let seen = task.see(claim, Source::Callback, NOW, policy);
    let doubted = seen
        .doubted
        .map_or("-", |doubted| doubted.reason.into_str());
    if let Some(conflict) = seen.doubted.filter(|_| seen.verdict == Verdict::Conflict) {
        task.claim_conflict(conflict.state, NOW, &policy.pace);
    }
    let claimed = task.claim().map_or("-", |claim| claim.state.into_str());
    let poll = task.polling.next_at.map_or("no poll".to_owned(), |at| {
        format!("poll in {} s", at.since(NOW).as_secs())
    });
    let (verdict, state) = (seen.verdict.into_str(), task.state().into_str());
    format!("{verdict:9} | {state:10} | {doubted:13} | {claimed:9} | {poll:12}")
}

/// The task's state after EvoLink has given `answer` to one poll.
fn after_poll(task: &Task, answer: &str, policy: &Policy) -> String {
    let mut task = task.clone();
    let now = NOW.after(Duration::from_secs(1));
    if !task.begin_poll(now, Duration::from_secs(40), &policy.pace) {
        return "not asked".to_owned();
    }
    match answer {
        "gone" => {
            for _ in 0..3 {
                task.miss(now, &policy.pace);
            }
        }
        "failed poll" => task.asked_in_vain(now, &policy.pace),
        status => {
            let results = if status == "completed" { RESULTS } else { "" };
            task.see(&observation(status, results), Source::Poll, now, policy);
        }
    }
    let claimed = task.claim().map_or("-", |claim| claim.state.into_str());
    let again = task.polling.next_at.map_or("-".to_owned(), |at| {
        // Rare polls are spread by the id, which differs in each run.
        let seconds = at.since(now).as_secs();
        match seconds / 3600 {
            0 => format!("{seconds} s"),
            hours => format!("{hours} h"),
        }
    });
    format!("{answer}: {} {claimed} {again}", task.state().into_str())
}

#[test]
fn what_is_doubted_and_what_evolink_then_makes_of_it() {
    let mut table = String::new();
    for confirm in [Confirm::Suspicious, Confirm::Always] {
        let policy = policy(confirm);
        for (state, vouched) in STATES_TO_DOUBT {
            for (name, claim) in claims() {
                let mut task = task_in(state);
                if let Phase::Accepted(accepted) = &mut task.phase
                    && !vouched
                {
                    accepted.vouched_at = None;
                }
                let effect = effect_of_claim(&mut task, &claim, &policy);
                let polls = ["completed", "failed", "processing", "gone", "failed poll"]
                    .map(|answer| after_poll(&task, answer, &policy));
                let mut polls = polls.to_vec();
                polls.dedup();
                let (confirm, state) = (confirm.as_str(), state.into_str());
                let id = if vouched { "vouched" } else { "late" };
                let polls = polls.join(", ");
                writeln!(
                    table,
                    "{confirm:10} | {state:14} {id:7} | {name:21} | {effect} | {polls}"
                )
                .unwrap();
            }
            table.push('\n');
        }
    }
    insta::assert_snapshot!(table);
}

/// Each state, and whether EvoLink itself has named the task id.
const STATES_TO_DOUBT: [(State, bool); 8] = [
    (State::Submitting, false),
    (State::SubmitUnknown, false),
    (State::Rejected, false),
    (State::Pending, false),
    (State::Pending, true),
    (State::Unresolved, true),
    (State::Completed, true),
    (State::Failed, true),
];
