//! Properties of the state machine when observations are reordered, repeated and contradictory,
//! while time passes and polls fail in between.

use std::time::Duration;

use evolink_receiver::domain::event::EventType;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::observation::Source;
use evolink_receiver::domain::task::confirmation::Confirm;
use evolink_receiver::domain::task::{Accepted, Polling, State, Task, Verdict};
use proptest::prelude::*;

use super::steps::{
    NONE, ONE, OTHER, START, Step, anything, confirm, outcome, progress_of, running, see, silence,
    source,
};
use super::{PACE, observation, policy};

fn fresh() -> Task {
    Task::new(SubmissionId::new(START))
}

/// Applies `steps` two seconds apart. `check` gets the task before and after each of them.
fn run(
    task: &mut Task,
    steps: &[Step],
    confirm: Confirm,
    mut check: impl FnMut(&Task, &Task, Option<Verdict>, Option<EventType>),
) {
    let (mut now, policy) = (START, policy(confirm));
    for step in steps {
        now = now.after(Duration::from_secs(2));
        let before = task.clone();
        let (verdict, event) = step.apply(task, now, &policy);
        check(&before, task, verdict, event);
    }
}

fn rank(state: State) -> u8 {
    match state {
        State::Submitting => 0,
        State::SubmitUnknown | State::Rejected => 1,
        State::Pending => 2,
        State::Processing => 3,
        State::Unresolved => 4,
        State::Completed | State::Failed | State::Cancelled => 5,
    }
}

fn is_outcome(event: EventType) -> bool {
    matches!(
        event,
        EventType::Completed | EventType::Failed | EventType::Cancelled
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// An outcome never changes, states and progress only move forward, and the task id is bound
    /// once.
    #[test]
    fn nothing_ever_goes_back(steps in anything(), confirm in confirm()) {
        run(&mut fresh(), &steps, confirm, |before, after, verdict, _| {
            assert!(rank(before.state()) <= rank(after.state()), "{before:?} {after:?}");
            assert!(progress_of(before) <= progress_of(after));
            assert!(before.task_id().is_none() || before.task_id() == after.task_id());
            if before.state().is_outcome() {
                // The stage has the outcome, its time and the digest of its results.
                let kept = |task: &Task| task.accepted().map(|kept| (kept.stage, kept.source, kept.progress));
                assert_eq!(kept(before), kept(after));
                assert_ne!(verdict, Some(Verdict::Recorded));
                assert_eq!(after.polling.next_at.is_some(), after.claim().is_some(), "asked about nothing but a conflict");
            }
        });
    }

    /// An outcome makes one event, when it happens and never again. Each state is announced once.
    #[test]
    fn an_outcome_is_announced_once(steps in anything(), confirm in confirm()) {
        let mut announced = Vec::new();
        let mut task = fresh();
        run(&mut task, &steps, confirm, |before, after, verdict, event| {
            let ended = !before.state().is_outcome() && after.state().is_outcome();
            assert_eq!(event.is_some_and(is_outcome), ended);
            assert_eq!(verdict == Some(Verdict::Conflict), event == Some(EventType::Conflict));
            if before.state() != after.state() {
                assert_eq!(event, EventType::of(after.state()));
            }
            announced.extend(event.filter(|event| *event != EventType::Conflict));
        });
        prop_assert_eq!(announced.iter().filter(|event| is_outcome(**event)).count(), usize::from(task.state().is_outcome()));
        announced.sort_by_key(EventType::into_str);
        let all = announced.len();
        announced.dedup();
        prop_assert_eq!(announced.len(), all);
    }

    /// If all observed outcomes agree, their order and number make no difference to the task's
    /// final state.
    #[test]
    /// Where callbacks alone cannot end a task, EvoLink's answer to a poll ends it. The unconfirmed
    /// outcome causes that poll.
    fn the_order_makes_no_difference_to_the_outcome(
        confirm in confirm(),
        ((status, results), (steps, shuffled)) in
            (prop::sample::select(vec![("completed", ONE), ("completed", OTHER), ("failed", NONE), ("cancelled", NONE)]))
            .prop_flat_map(|(status, results)| {
                let outcomes = prop::collection::vec(see(status, results), 1..4);
                let others = prop::collection::vec(prop_oneof![running(), silence()], 0..8);
                let steps = (outcomes, others).prop_map(|(outcomes, others)| [outcomes, others].concat());
                let orders = steps.prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle()));
                (Just((status, results)), orders)
            })
    ) {
        let end = |steps: &[Step]| {
            let (mut task, mut conflicts) = (fresh(), 0);
            let own_word = Step::See { status, progress: None, results, source: Source::Poll };
            let steps = match confirm {
                Confirm::Never => steps.to_vec(),
                Confirm::Suspicious | Confirm::Always => [steps, &[own_word]].concat(),
            };
            run(&mut task, &steps, confirm, |_, _, verdict, _| conflicts += usize::from(verdict == Some(Verdict::Conflict)));
            let digest = task.accepted().and_then(Accepted::results_digest).copied();
            (task.state(), digest, task.task_id().cloned(), conflicts)
        };
        let ended = end(&steps);
        prop_assert!(ended.0.is_outcome());
        prop_assert_eq!(ended.3, 0);
        prop_assert_eq!(ended, end(&shuffled));
    }

    /// For a task that has not ended, neither state nor progress depends on the order.
    #[test]
    fn the_order_makes_no_difference_to_a_task_under_way(
        confirm in confirm(),
        (steps, shuffled) in prop::collection::vec(running(), 1..8)
            .prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle()))
    ) {
        let end = |steps: &[Step]| {
            let mut task = fresh();
            run(&mut task, steps, confirm, |_, _, _, _| {});
            (task.state(), progress_of(&task))
        };
        prop_assert_eq!(end(&steps), end(&shuffled));
    }

    /// Time alone never makes an outcome. A late outcome is recorded and announced as usual.
    #[test]
    fn silence_is_never_an_outcome(
        begun in prop::collection::vec(running(), 0..3),
        quiet in prop::collection::vec(silence(), 0..16),
        late in see("completed", ONE),
    ) {
        let mut task = fresh();
        let steps = [begun, quiet].concat();
        let mut unresolved = 0;
        run(&mut task, &steps, Confirm::Never, |_, after, _, event| {
            assert!(!after.state().is_outcome() && !event.is_some_and(is_outcome));
            unresolved += usize::from(event == Some(EventType::Unresolved));
        });
        prop_assert!(unresolved <= 1);
        let (verdict, event) = late.apply(&mut task, START.after(Duration::from_hours(48)), &policy(Confirm::Never));
        prop_assert_eq!((verdict, event), (Some(Verdict::Recorded), Some(EventType::Completed)));
        prop_assert_eq!(task.state(), State::Completed);
    }

    /// A running task always has a planned poll, and no poll comes sooner than the pace allows.
    #[test]
    fn a_task_under_way_is_always_to_be_polled_but_never_too_soon(steps in anything(), confirm in confirm()) {
        run(&mut fresh(), &steps, confirm, |_, task, _, _| {
            if matches!(task.state(), State::Pending | State::Processing) || task.claim().is_some() {
                assert!(task.polling.next_at.is_some(), "{task:?}");
            }
            if let (Some(next), Some(last)) = (task.polling.next_at, task.polling.polled_at) {
                assert!(next >= last.after(PACE.interval_min), "{task:?}");
            }
        });
    }

    /// Under `always`, no number of callbacks ends a task. EvoLink's own answer ends it with the
    /// outcome that it reports, whatever was claimed before or after.
    #[test]
    fn a_callback_alone_ends_nothing_under_always(
        forged in prop::collection::vec(prop_oneof![outcome(), running()], 0..12),
        after in prop::collection::vec(outcome(), 0..4),
        by in prop_oneof![Just(Source::Submit), Just(Source::Poll)],
    ) {
        let by_callback = |steps: Vec<Step>| -> Vec<Step> { steps.into_iter().map(|step| step.by(Source::Callback)).collect() };
        let (forged, after) = (by_callback(forged), by_callback(after));
        let mut task = fresh();
        run(&mut task, &forged, Confirm::Always, |_, after, _, event| {
            assert!(!after.state().is_outcome() && !event.is_some_and(is_outcome), "{after:?}");
        });
        let own_word = Step::See { status: "completed", progress: None, results: ONE, source: by };
        run(&mut task, &[own_word], Confirm::Always, |_, _, verdict, event| {
            assert_eq!((verdict, event), (Some(Verdict::Recorded), Some(EventType::Completed)));
        });
        run(&mut task, &after, Confirm::Always, |_, _, _, _| {});
        prop_assert_eq!((task.state(), task.accepted().map(|ended| ended.source)), (State::Completed, Some(by)));
    }

    /// A postponed poll changes nothing but its time. A task that is not polled stays that way.
    #[test]
    fn a_poll_that_was_put_off_does_not_count(steps in anything(), pause_s in 0..3600_u64) {
        let mut task = fresh();
        run(&mut task, &steps, Confirm::Never, |_, _, _, _| {});
        let (before, now, pause) = (task.clone(), START.after(Duration::from_hours(1)), Duration::from_secs(pause_s));
        task.put_off(pause, now, &PACE);
        let next = before.polling.next_at.map(|_| now.after(pause.max(PACE.interval_min)));
        let polling = Polling { next_at: next, polled_at: Some(now), ..before.polling };
        prop_assert_eq!(task, Task { polling, ..before });
    }

    /// After each "no such task", a young task is polled again, and an old one is not.
    #[test]
    fn an_unresolved_task_is_polled_until_it_has_had_its_time(
        begun in prop::collection::vec(running(), 1..3),
        misses in 3..40_u32,
    ) {
        let mut task = fresh();
        run(&mut task, &begun, Confirm::Never, |_, _, _, _| {});
        for _ in 0..misses {
            let Some(now) = task.polling.next_at else { break };
            task.miss(now, &PACE);
        }
        prop_assert_eq!(task.state(), State::Unresolved);
        let age = task.polling.polled_at.unwrap().since(task.submitted_at);
        prop_assert_eq!(task.polling.next_at.is_some(), age < PACE.give_up_after, "{:?}", task);
        prop_assert!(task.polling.polls <= 2 + 3 + 24, "{:?}", task);
    }

    /// A task that was given up is not due any more, even if something suspicious had just
    /// requested a poll.
    #[test]
    fn what_was_given_up_is_not_due(steps in anything()) {
        let (mut task, late) = (fresh(), START.after(Duration::from_hours(1)));
        run(&mut task, &steps, Confirm::Never, |_, _, _, _| {});
        task.give_up(late);
        task.ask_soon(late, &PACE);
        task.give_up(late);
        prop_assert!(task.polling.next_at.is_none_or(|at| at > late), "{:?}", task);
        prop_assert!(!matches!(task.state(), State::Pending | State::Processing), "{:?}", task);
    }

    /// Without results, `completed` is accepted at the third consecutive poll (rule B6), and never
    /// because of callbacks.
    #[test]
    fn an_empty_completion_needs_three_polls(callbacks in 0..8_usize, polls in 0..6_u8) {
        let empty = |source| Step::See { status: "completed", progress: None, results: NONE, source };
        let mut task = fresh();
        let mut steps = vec![empty(Source::Callback); callbacks];
        steps.extend((0..polls).map(|_| empty(Source::Poll)));
        run(&mut task, &steps, Confirm::Never, |_, _, _, _| {});
        prop_assert_eq!(task.state() == State::Completed, polls >= 3);
    }

    /// In the body that clients see, neither status nor progress ever goes back.
    #[test]
    fn what_is_shown_never_goes_back(steps in prop::collection::vec(running(), 1..12), given_up in any::<bool>()) {
        let (mut task, mut shown_processing, mut shown_progress) = (fresh(), false, 0);
        let never = policy(Confirm::Never);
        for step in &steps {
            let Step::See { status, progress, source, .. } = step else { unreachable!("only statements") };
            let progress_member = progress.map_or(String::new(), |value| format!(r#","progress":{value}"#));
            let seen = task.see(&observation(status, &progress_member), *source, START, &never);
            if seen.shown {
                prop_assert!(!(shown_processing && matches!(*status, "pending" | "queued")), "{:?}", steps);
                prop_assert!(progress.is_none_or(|value| value >= shown_progress), "{:?}", steps);
                shown_processing |= *status == "processing";
                shown_progress = progress.unwrap_or(shown_progress);
            }
            if given_up {
                task.give_up(START);
            }
        }
    }

    /// An empty completion restarts the polls of an unresolved task until it is accepted (rule B6).
    #[test]
    fn an_unresolved_task_is_asked_until_an_empty_completion_is_believed(source in source()) {
        let mut task = fresh();
        let never = policy(Confirm::Never);
        task.see(&observation("processing", ""), Source::Submit, START, &never);
        task.give_up(START);
        let mut now = START;
        task.see(&observation("completed", ""), source, now, &never);
        for _ in 0..3 {
            let Some(next) = task.polling.next_at else { break };
            now = next;
            task.see(&observation("completed", ""), Source::Poll, now, &never);
        }
        prop_assert_eq!((task.state(), task.polling.next_at), (State::Completed, None));
    }
}
