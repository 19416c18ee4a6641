//! The scan for due work. Finds tasks that are due for a poll. Also ends submits that were
//! interrupted, and counts tasks that an operator should look at.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use super::{Reconciler, reply};
use crate::domain::ids::SubmissionId;
use crate::domain::task::State;
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::read::overdue::DueTask;
use crate::store::recorder::entry::SubmitEnded;

/// The number of rows of each kind that one scan returns.
const BATCH: u32 = 32;

/// The number of unresolved tasks in one scan. They are due once an hour, and must not delay the
/// others.
const RARE_BATCH: u32 = 4;

/// The time between two scans for unresolved tasks. So at most two of them are polled per second, a
/// fifth of the default of `evolink.polls_per_second`.
const RARE_INTERVAL: Duration = Duration::from_secs(2);

/// The time between two counts.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// How late a poll is when its task is shown as overdue. A healthy reconciler polls within seconds.
const OVERDUE_AFTER: Duration = Duration::from_secs(10);

/// The most overdue tasks that are counted.
const OVERDUE_MAX: u32 = 200;

/// Later than every plan, so that only what is due is overdue.
const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// The time beyond twice EvoLink's timeout after which a submit without a recorded outcome counts
/// as interrupted. A submit may wait for the end of an equal one before it is sent.
const SUBMIT_GRACE: Duration = Duration::from_secs(30);

/// The errors of single rows that are remembered, so that each is logged once.
const REPORTED_MAX: usize = 256;

/// The result of the last scan.
#[derive(Default)]
pub(super) struct Found {
    /// The due tasks whose poll has not begun, the longest overdue first.
    pub due: VecDeque<DueTask>,
    /// Whether a poll of this scan has begun.
    pub any_begun: bool,
    /// Due tasks that could not be claimed because of their rows. They are left out of the next
    /// scans, so that they do not take the place of others.
    pub passed_over: HashSet<SubmissionId>,
    /// The number of due rows that cannot be polled.
    pub unreadable: usize,
    /// The errors of single rows that were logged.
    pub reported: HashSet<String>,
    counted_at: Option<Instant>,
    rare_scan_at: Option<Instant>,
}

impl Reconciler {
    pub(super) async fn scan(&self, found: &mut Found) -> Result<(), StoreError> {
        self.end_unanswered().await?;
        self.count_stuck(&mut found.counted_at).await?;
        let now = self.dependencies.clock.now();
        let horizon = self.dependencies.pace.horizon(now);
        if found.passed_over.len() >= REPORTED_MAX {
            found.passed_over.clear();
        }
        let passed_over = u32::try_from(found.passed_over.len()).unwrap_or(0);
        let due = self
            .dependencies
            .store
            .list_due(now, horizon, BATCH + passed_over)
            .await?;
        let passed_over = &found.passed_over;
        let tasks = due.tasks.into_iter();
        let tasks = tasks.filter(|task| !passed_over.contains(&task.submission_id));
        found.due = tasks.take(BATCH as usize).collect();
        found.unreadable = due.unreadable.len() + found.passed_over.len();
        found.any_begun = false;
        for error in due.unreadable {
            Self::report_impossible(&mut found.reported, &error);
        }
        let has_room = found.due.len() + RARE_BATCH as usize <= BATCH as usize;
        let scanned_at = found.rare_scan_at;
        if has_room && scanned_at.is_none_or(|at| at.elapsed() >= RARE_INTERVAL) {
            let rare = self
                .dependencies
                .store
                .list_rarely_due(now, horizon, RARE_BATCH);
            let rare = rare.await?;
            found.due.extend(rare.tasks);
            found.unreadable += rare.unreadable.len();
            for error in rare.unreadable {
                Self::report_impossible(&mut found.reported, &error);
            }
            found.rare_scan_at = Some(Instant::now());
        }
        self.dependencies.metrics.tasks_unreadable(found.unreadable);
        Ok(())
    }

    /// Logs a row that cannot be polled, once for as long as this process remembers it.
    pub(super) fn report_impossible(reported: &mut HashSet<String>, error: &StoreError) {
        let error = error.to_string();
        if reported.len() >= REPORTED_MAX {
            reported.clear();
        }
        if !reported.contains(&error) {
            error!(
                error,
                "a task cannot be polled, and the others are: {error}"
            );
            reported.insert(error);
        }
    }

    /// Ends submits whose process stopped between the intent and the answer.
    async fn end_unanswered(&self) -> Result<(), StoreError> {
        let (now, patience) = (
            self.dependencies.clock.now(),
            2 * self.dependencies.evolink_timeout + SUBMIT_GRACE,
        );
        let (before, beyond) = (now.before(patience), now.after(patience));
        let store = &self.dependencies.store;
        for submission_id in store.list_unanswered(before, beyond, BATCH).await? {
            warn!(submission.id = %submission_id, "a submit was cut off: whether EvoLink accepted it is unknown");
            let ending =
                (self.dependencies.recorder).end_submit(submission_id, SubmitEnded::Unknown);
            reply::log_failure(ending.await);
        }
        Ok(())
    }

    /// Updates the metrics of tasks that an operator should look at.
    async fn count_stuck(&self, counted_at: &mut Option<Instant>) -> Result<(), StoreError> {
        if counted_at.is_some_and(|at| at.elapsed() < COUNT_INTERVAL) {
            return Ok(());
        }
        for state in [State::SubmitUnknown, State::Unresolved] {
            let tasks = self.dependencies.store.count_in_state(state).await?;
            self.dependencies.metrics.tasks_counted(state, tasks);
        }
        self.count_open().await?;
        *counted_at = Some(Instant::now());
        Ok(())
    }

    /// Counts the open tasks and those whose poll is overdue, for the plots of the dashboard.
    async fn count_open(&self) -> Result<(), StoreError> {
        let (store, metrics) = (&self.dependencies.store, &self.dependencies.metrics);
        let mut open = 0;
        for state in [State::Submitting, State::Pending, State::Processing] {
            open += store.count_in_state(state).await?;
        }
        metrics.tasks_shown("open", open.unsigned_abs());
        let now = self.dependencies.clock.now();
        let overdue = store.list_due(now.before(OVERDUE_AFTER), NEVER, OVERDUE_MAX);
        let overdue = overdue.await?;
        metrics.tasks_shown("overdue", overdue.tasks.len() as u64);
        Ok(())
    }
}
