//! Random histories of a task whose callbacks come in stages, beside a model that knows nothing but
//! sets of results.

use std::collections::BTreeSet;
use std::time::Duration;

use evolink_receiver::domain::event::EventType;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::kind::Kind;
use evolink_receiver::domain::observation::{Relation, ResultsOrder, Source};
use evolink_receiver::domain::task::confirmation::Confirm;
use evolink_receiver::domain::task::{Published, State, Task, Verdict};
use evolink_receiver::domain::timestamp::Timestamp;

use super::{observation, policy};

const START: Timestamp = Timestamp::from_millis(1_757_165_031_007);

/// What must be known of the task.
#[derive(Default)]
struct Model {
    /// The published results by their numbers.
    published: Vec<u8>,
    outcomes: u32,
    updates: u32,
}

impl Model {
    /// Applies a completion with these results. Returns the verdict.
    fn see(&mut self, results: &[u8], is_evolinks_word: bool) -> Verdict {
        let old: BTreeSet<u8> = self.published.iter().copied().collect();
        let new: BTreeSet<u8> = results.iter().copied().collect();
        let is_first = self.published.is_empty();
        if is_first && is_evolinks_word {
            self.outcomes += 1;
        } else if is_first {
            return Verdict::Recorded;
        } else if new.is_subset(&old) {
            return Verdict::Duplicate;
        } else if !new.is_superset(&old) {
            return Verdict::Conflict;
        } else if is_evolinks_word {
            self.updates += 1;
        } else {
            return Verdict::Recorded;
        }
        let more = results.iter().filter(|number| !old.contains(number));
        self.published.extend(more);
        Verdict::Recorded
    }
}

#[test]
fn stages_in_any_order_lost_or_repeated_end_in_what_evolink_says() {
    let seed = std::env::var("EVOLINK_RECEIVER_TEST_SEED");
    let seed = seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("EVOLINK_RECEIVER_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut updated = 0;
    for _ in 0..2000 {
        updated += history(&mut random);
    }
    assert!(updated > 500, "{updated}");
}

/// Runs one history. Returns the number of updates.
fn history(random: &mut fastrand::Rng) -> u32 {
    let confirm = Confirm::ALL[random.usize(..3)];
    let policy = policy(confirm);
    let mut task = Task::new(SubmissionId::new(START));
    task.kind = Some(Kind::Audio);
    let mut model = Model::default();
    let (mut shown, mut order) = (None, ResultsOrder::PLAIN);
    let (mut outcomes, mut updates) = (0, 0);
    let mut now = START;
    for _ in 0..random.usize(1..12) {
        now = now.after(Duration::from_secs(random.u64(..30)));
        let source = [Source::Callback, Source::Poll][random.usize(..2)];
        if random.u8(..5) == 0 {
            task.see(&observation("processing", ""), source, now, &policy);
            continue;
        }
        let mut results: Vec<u8> = (0..3).filter(|_| random.u8(..3) > 0).collect();
        random.shuffle(&mut results);
        if results.is_empty() {
            continue;
        }
        let urls: Vec<String> = results
            .iter()
            .map(|number| format!("\"https://files.evolink.ai/{number}?s={}\"", random.u8(..)))
            .collect();
        let seen = observation("completed", &format!(r#","results":[{}]"#, urls.join(",")));
        let published = shown.clone().map(|observation| Published {
            observation,
            order: order.clone(),
        });
        let wanted = model.see(&results, source == Source::Poll);
        let done = task.see_beside(published.as_ref(), &seen, source, source, now, &policy);
        assert_eq!(
            done.verdict, wanted,
            "{results:?} by {source:?} on {:?}",
            model.published
        );
        match done.event {
            Some(EventType::Completed) => outcomes += 1,
            Some(EventType::Updated) => {
                updates += 1;
                let published = published.unwrap();
                let relation = seen.relation_to(&published.observation, &published.order);
                let Relation::More(new) = relation else {
                    panic!("an update has more");
                };
                order = new;
            }
            _ => {}
        }
        if done.shown {
            shown = Some(seen);
        }
    }
    assert_eq!((outcomes, updates), (model.outcomes, model.updates));
    if let Some(shown) = shown.filter(|_| outcomes > 0) {
        let numbered = order.apply(shown.urls());
        let numbered: Vec<u8> = numbered
            .iter()
            .map(|(_, url)| url.as_bytes()["https://files.evolink.ai/".len()] - b'0')
            .collect();
        assert_eq!(numbered, model.published);
        assert_eq!((task.state(), task.unconfirmed()), (State::Completed, None));
        polls_end(task, &shown, now, confirm);
    }
    updates
}

/// Polls that say the same again come to an end.
fn polls_end(
    mut task: Task,
    shown: &evolink_receiver::domain::observation::Observation,
    mut now: Timestamp,
    confirm: Confirm,
) {
    let policy = policy(confirm);
    for _ in 0..10 {
        let Some(next) = task.polling.next_at else {
            return;
        };
        assert!(next.since(now) <= Duration::from_mins(2), "{next}");
        now = now.max(next);
        task.see(shown, Source::Poll, now, &policy);
    }
    panic!("polled for ever: {task:?}");
}
