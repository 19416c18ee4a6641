//! Lists of a store with thousands of tasks: with every filter, the pages together contain each
//! matching task once and in order.

use std::time::Duration;

use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::store::Store;
use evolink_receiver::store::read::TaskFilter;

use crate::support::app::answer::get;
use crate::support::app::shelf::{self, Stored, TASKS, TIES};
use crate::support::app::{START, TestApp};
use crate::support::store::TestStore;

/// Far more than any list here has.
const PAGES_MAX: usize = 200;

fn wanted(tasks: &[Stored], filter: &TaskFilter) -> Vec<String> {
    let is_wanted = |task: &&Stored| {
        filter
            .state
            .is_none_or(|state| state.into_str() == task.state)
            && filter
                .client
                .as_deref()
                .is_none_or(|client| client == task.client)
            && (filter.reference.is_none() || filter.reference.as_deref() == task.reference)
            && filter.created_after.is_none_or(|time| task.at > time)
    };
    let ids = tasks.iter().filter(is_wanted);
    ids.map(|task| task.submission_id.to_string()).collect()
}

/// All pages of at most `limit` tasks, and whether one was short although another followed.
async fn all_pages(store: &Store, mut filter: TaskFilter, limit: u32) -> (Vec<String>, bool) {
    let (mut found, mut was_short) = (Vec::new(), false);
    for _ in 0..PAGES_MAX {
        let page = store.list_tasks(&filter, limit).await.unwrap();
        assert!(page.tasks.len() <= limit as usize, "{filter:?}");
        let ids = page.tasks.iter();
        found.extend(ids.map(|view| view.record.task.submission_id.to_string()));
        if page.next.is_none() {
            return (found, was_short);
        }
        was_short |= page.tasks.len() < limit as usize;
        filter.before = page.next;
    }
    panic!("{filter:?} has no end");
}

/// A moment before all tasks, both edges of a moment in the middle, the last moment, and the one
/// before.
fn times() -> [Option<Timestamp>; 7] {
    let at = |ms: i64| Some(Timestamp::from_millis(START.as_millis() + ms));
    let last = (TASKS - 1) / TIES;
    [
        None,
        at(-1),
        at(0),
        at(1200),
        at(1201),
        at(last - 1),
        at(last),
    ]
}

/// Each time without a reference, and each reference at two times.
fn times_and_references() -> Vec<(Option<Timestamp>, Option<&'static str>)> {
    let references = [Some("an order"), Some("a rare order"), Some("nobody's")];
    let of = |time| references.map(|reference| (time, reference));
    let [first, _, _, middle, ..] = times();
    let without = times().map(|time| (time, None));
    [&without[..], &of(first), &of(middle)].concat()
}

#[tokio::test]
async fn every_filter_pages_through_each_task_once() {
    let home = TestStore::new();
    let store = Store::open(home.url()).await.unwrap();
    let database = home.connect().await;
    let tasks = shelf::fill(&database).await;
    let states = [
        None,
        Some("completed"),
        Some("failed"),
        Some("processing"),
        Some("unresolved"),
        Some("cancelled"),
    ];
    let mut short = 0;
    for state in states.map(|state| state.and_then(|text| text.parse().ok())) {
        for client in [None, Some("web"), Some("rare"), Some("nobody")] {
            for (created_after, reference) in times_and_references() {
                let filter = TaskFilter {
                    state,
                    client: client.map(str::to_owned),
                    reference: reference.map(str::to_owned),
                    created_after,
                    created_before: None,
                    ..TaskFilter::default()
                };
                // The smaller limit splits the tasks of one millisecond between pages.
                let wanted = wanted(&tasks, &filter);
                let limit = if wanted.len() < 700 { 7 } else { 193 };
                let (found, was_short) = all_pages(&store, filter.clone(), limit).await;
                assert_eq!(found, wanted, "{filter:?}");
                short += usize::from(was_short);
            }
        }
    }
    assert!(
        short > 0,
        "a page never was short: the rare is not rare enough"
    );
    database.close().await;
    store.close().await;
}

#[tokio::test]
async fn a_short_page_has_a_page_after_it() {
    let app = TestApp::builder().with_manual_clock().start().await;
    shelf::fill(&app.database().await).await;
    let ids = |body: &serde_json::Value| body["data"].as_array().unwrap().len();
    let first = get(&app, "/v1/tasks?status=completed").await.body;
    let cursor = first["next"].as_str().expect("a page after");
    assert_eq!(ids(&first), 0, "what is completed is not among the newest");
    let second = get(&app, &format!("/v1/tasks?status=completed&cursor={cursor}"))
        .await
        .body;
    assert_eq!((ids(&second), second["next"].is_string()), (50, true));
    // An index leads to the tasks of a client, however rare it is.
    let client = get(&app, "/v1/tasks?client=rare").await.body;
    assert_eq!((ids(&client), client["next"].is_null()), (3, true));
    // An index leads to the tasks of a state, too.
    let state = get(&app, "/v1/tasks?status=unresolved").await.body;
    assert_eq!((ids(&state), state["next"].is_null()), (3, true));
}

#[tokio::test]
async fn a_cursor_is_a_submission_id_and_nothing_else() {
    let app = TestApp::builder().with_manual_clock().start().await;
    let page = shelf::fill(&app.database().await).await;
    let good = page[0].submission_id.to_string();
    let bad = [
        good.to_uppercase(),
        good.replace('-', ""),
        format!("{good}0"),
        good[..35].to_owned(),
        format!("{{{good}}}"),
        good.replacen("-7", "-4", 1),
        "%00".to_owned(),
        "z".to_owned(),
        "%27%20OR%201=1--".to_owned(),
        "%ff%fe".to_owned(),
        "1".repeat(5000),
    ];
    for cursor in bad {
        let answer = get(&app, &format!("/v1/tasks?cursor={cursor}")).await;
        answer.assert_error(400, "invalid_request", Some("cursor"), &cursor);
    }
    // A cursor that belongs to no submission works too: all older tasks follow.
    let nobody = "00000000-0000-7000-8000-000000000000";
    let end = get(&app, &format!("/v1/tasks?cursor={nobody}")).await.body;
    assert_eq!(
        (&end["data"], end["next"].is_null()),
        (&serde_json::json!([]), true)
    );
}

#[tokio::test]
async fn created_after_takes_the_edges_of_time() {
    let app = TestApp::builder().with_manual_clock().start().await;
    let tasks = shelf::fill(&app.database().await).await;
    let count = async |after: &str| {
        let page = get(&app, &format!("/v1/tasks?limit=200&created_after={after}")).await;
        assert_eq!(page.status, 200, "{after}: {page:?}");
        page.body["data"].as_array().unwrap().len()
    };
    let last = tasks[0].at;
    let before = last.before(Duration::from_millis(1));
    assert_eq!(count(&last.to_string()).await, 0, "later, not as late");
    assert_eq!(
        count(&before.to_string()).await,
        usize::try_from(TIES).unwrap()
    );
    assert_eq!(count("-9999999999").await, 200);
    assert_eq!(count("1970-01-01T00:00:00Z").await, 200);
    assert_eq!(count("9999-12-30T00:00:00Z").await, 0);
    // Beyond the range of an id, and beyond the range of a clock.
    assert_eq!(count("9223372036854775").await, 0);
}
