//! The queries of a store, and the time that each takes. A figure is the median of many queries,
//! each about another task, so that no single page of the database answers them all.

use std::time::Instant;

use anyhow::ensure;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::task::State;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::store::Store;
use evolink_receiver::store::read::{TaskFilter, TaskName};

use super::fill::{CLIENTS, Filler};
use super::micros;

/// Queries of each kind.
const QUESTIONS: usize = 300;

/// The default page size of the list.
const PAGE: u32 = 50;

/// The number of due tasks that the reconciler loads at once.
const LOOK: u32 = 64;

pub async fn ask_all(store: &Store, filler: &Filler) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let any = || fastrand::i64(1..=filler.count);
    let mut costs = Vec::new();
    let mut times = Vec::new();
    for _ in 0..QUESTIONS {
        let name = TaskName::Task(filler.task_id(any()));
        let begun = Instant::now();
        let found = store.find_task(&name).await?;
        times.push(micros(begun.elapsed()));
        ensure!(found.is_some(), "a task of the store is not found");
    }
    costs.push(("keyed read, task id", median(&mut times)));
    for _ in 0..QUESTIONS {
        let name = TaskName::Submission(filler.submission_id(any()));
        let begun = Instant::now();
        let found = store.find_task(&name).await?;
        times.push(micros(begun.elapsed()));
        ensure!(found.is_some(), "a submission of the store is not found");
    }
    costs.push(("keyed read, submission id", median(&mut times)));
    for (name, make) in filters() {
        for _ in 0..QUESTIONS {
            let page = make(filler, any());
            let begun = Instant::now();
            store.list_tasks(&page, PAGE).await?;
            times.push(micros(begun.elapsed()));
        }
        costs.push((name, median(&mut times)));
    }
    let late = Clock::System
        .now()
        .after(std::time::Duration::from_hours(48));
    let never = Timestamp::from_millis(i64::MAX);
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        let due = store.list_due(late, never, LOOK).await?;
        times.push(micros(begun.elapsed()));
        ensure!(
            due.tasks.len() == LOOK as usize,
            "there is enough to be due"
        );
    }
    costs.push(("reconciler's look, 64 due", median(&mut times)));
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        let early = filler.submitted_at(1);
        store.list_due(early, never, LOOK).await?;
        store.list_unanswered(late, never, LOOK).await?;
        times.push(micros(begun.elapsed()));
    }
    costs.push(("reconciler's look, nothing to do", median(&mut times)));
    Ok(costs)
}

type MakeFilter = fn(&Filler, i64) -> TaskFilter;

/// The filters. Most begin at the task with the given number.
fn filters() -> [(&'static str, MakeFilter); 8] {
    fn from(filler: &Filler, number: i64) -> TaskFilter {
        // At least half of the tasks lie before it, so that every filter finds a page.
        let number = number.max(filler.count / 2);
        TaskFilter {
            before: Some(filler.submission_id(number)),
            ..TaskFilter::default()
        }
    }
    fn client(number: i64) -> String {
        format!("client-{}", number % CLIENTS)
    }
    [
        ("page, the newest", |_, _| TaskFilter::default()),
        ("page, from anywhere", from),
        ("page, created_after", |filler, number| TaskFilter {
            created_after: Some(filler.submitted_at(number)),
            ..TaskFilter::default()
        }),
        ("page, status=failed", |filler, number| TaskFilter {
            state: Some(State::Failed),
            ..from(filler, number)
        }),
        ("page, client", |filler, number| TaskFilter {
            client: Some(client(number)),
            ..from(filler, number)
        }),
        ("page, a client that has no tasks", |filler, number| {
            TaskFilter {
                client: Some("nobody".to_owned()),
                ..from(filler, number)
            }
        }),
        ("page, status=failed and client", |filler, number| {
            TaskFilter {
                state: Some(State::Failed),
                client: Some(client(number)),
                ..from(filler, number)
            }
        }),
        ("page, status=completed", |filler, number| TaskFilter {
            state: Some(State::Completed),
            ..from(filler, number)
        }),
    ]
}

/// Returns the median, and empties `values`.
fn median(values: &mut Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let median = values[values.len() / 2];
    values.clear();
    median
}
