//! A row of the `task` table: the domain's task, with columns that only the store and its readers
//! need.

use bytes::Bytes;
use sqlx::FromRow;
use strum::{EnumString, IntoStaticStr};

use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::observation::ResultsDigest;
use crate::domain::task::{Claim, State, Task};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::engine::rows::Value;

/// How a record came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum Origin {
    /// Submitted through our API.
    Submit,
    /// Accepted through a shared (standing) callback URL.
    Standing,
    /// Recreated from a callback whose record was missing.
    Restored,
}

/// A task as it is stored.
#[derive(Clone, Debug)]
pub struct Record {
    /// Assigned by the recorder; `None` until the record is stored.
    pub seq: Option<i64>,
    pub task: Task,
    pub origin: Origin,
    /// The API key's name, or the label of the standing URL.
    pub client: Option<String>,
    /// The request to EvoLink, without the callback URL.
    pub request: Option<Bytes>,
    /// The app's own address, to which the outcome is delivered.
    pub callback_url: Option<String>,
    /// EvoLink's refusal of the submit, byte for byte.
    pub refusal: Option<Bytes>,
    /// The number of observations kept.
    pub observations: u16,
    /// The number of the observation whose body is shown for the task.
    pub shown: Option<u16>,
}

/// The observations of one task have adjacent ids: `seq * 1024 + n`.
pub const OBSERVATIONS_PER_TASK: i64 = 1024;

// The SQL of `reads`, `history` and the migrations contains the literal 1024.
const _: () = assert!(OBSERVATIONS_PER_TASK == 1024);

/// The columns of a record that are written and read, in this order.
macro_rules! record_columns {
    () => {
        "seq, submission_id, task_id, origin, client, request, callback_url, state, progress, source, results_digest, refusal, \
         observations, shown, submitted_at, outcome_at, next_poll_at, polled_at, polls, empty_polls, missed_polls, \
         vouched_at, claimed, claimed_at"
    };
}
pub(crate) use record_columns;

/// The number of `record_columns`.
pub const COLUMN_COUNT: usize = 24;

/// The number of columns that may change after the insert, plus `seq`.
pub const CHANGED_COLUMN_COUNT: usize = 18;

impl Record {
    pub const fn new(task: Task, origin: Origin, client: Option<String>) -> Self {
        Self {
            seq: None,
            task,
            origin,
            client,
            request: None,
            callback_url: None,
            refusal: None,
            observations: 0,
            shown: None,
        }
    }

    /// Returns the values of `record_columns`. `submission_id` is the text of the record's own id.
    pub fn values<'a>(&'a self, seq: i64, submission_id: &'a str) -> [Value<'a>; COLUMN_COUNT] {
        let task = &self.task;
        [
            seq.into(),
            submission_id.into(),
            task.task_id.as_ref().map(TaskId::as_str).into(),
            self.origin.into_str().into(),
            self.client.as_deref().into(),
            self.request.as_deref().into(),
            self.callback_url.as_deref().into(),
            task.state.as_str().into(),
            i64::from(task.progress).into(),
            task.source.map(<&str>::from).into(),
            task.results_digest
                .as_ref()
                .map(ResultsDigest::as_bytes)
                .into(),
            self.refusal.as_deref().into(),
            i64::from(self.observations).into(),
            self.shown.map(i64::from).into(),
            task.submitted_at.as_millis().into(),
            task.outcome_at.map(Timestamp::as_millis).into(),
            task.next_poll_at.map(Timestamp::as_millis).into(),
            task.polled_at.map(Timestamp::as_millis).into(),
            i64::from(task.polls).into(),
            i64::from(task.empty_polls).into(),
            i64::from(task.missed_polls).into(),
            task.vouched_at.map(Timestamp::as_millis).into(),
            task.claim.map(|claim| claim.state.as_str()).into(),
            task.claim.map(|claim| claim.at.as_millis()).into(),
        ]
    }

    /// Returns `seq` and the values that may change after the insert.
    pub fn changed_values(&self, seq: i64) -> [Value<'_>; CHANGED_COLUMN_COUNT] {
        let task = &self.task;
        [
            seq.into(),
            task.task_id.as_ref().map(TaskId::as_str).into(),
            task.state.as_str().into(),
            i64::from(task.progress).into(),
            task.source.map(<&str>::from).into(),
            task.results_digest
                .as_ref()
                .map(ResultsDigest::as_bytes)
                .into(),
            self.refusal.as_deref().into(),
            i64::from(self.observations).into(),
            self.shown.map(i64::from).into(),
            task.outcome_at.map(Timestamp::as_millis).into(),
            task.next_poll_at.map(Timestamp::as_millis).into(),
            task.polled_at.map(Timestamp::as_millis).into(),
            i64::from(task.polls).into(),
            i64::from(task.empty_polls).into(),
            i64::from(task.missed_polls).into(),
            task.vouched_at.map(Timestamp::as_millis).into(),
            task.claim.map(|claim| claim.state.as_str()).into(),
            task.claim.map(|claim| claim.at.as_millis()).into(),
        ]
    }
}

/// A record as a database row.
#[derive(Debug, FromRow)]
pub struct RecordRow {
    pub seq: i64,
    pub submission_id: String,
    pub task_id: Option<String>,
    pub origin: String,
    pub client: Option<String>,
    pub request: Option<Vec<u8>>,
    pub callback_url: Option<String>,
    pub state: String,
    pub progress: i64,
    pub source: Option<String>,
    pub results_digest: Option<Vec<u8>>,
    pub refusal: Option<Vec<u8>>,
    pub observations: i64,
    pub shown: Option<i64>,
    pub submitted_at: i64,
    pub outcome_at: Option<i64>,
    pub next_poll_at: Option<i64>,
    pub polled_at: Option<i64>,
    pub polls: i64,
    pub empty_polls: i64,
    pub missed_polls: i64,
    pub vouched_at: Option<i64>,
    pub claimed: Option<String>,
    pub claimed_at: Option<i64>,
}

impl TryFrom<RecordRow> for Record {
    type Error = StoreError;

    fn try_from(row: RecordRow) -> Result<Self, StoreError> {
        let id = row.seq;
        let corrupt = |column| {
            move || StoreError::Corrupt {
                table: "task",
                id,
                column,
            }
        };
        let claimed = parse_all(row.claimed, |text| State::parse(&text));
        let claimed = claimed.ok_or_else(corrupt("claimed"))?;
        let claimed_at = row.claimed_at.map(Timestamp::from_millis);
        let task = Task {
            submission_id: row
                .submission_id
                .parse()
                .map_err(|_| corrupt("submission_id")())?,
            task_id: parse_all(row.task_id, |text| TaskId::parse(&text))
                .ok_or_else(corrupt("task_id"))?,
            state: State::parse(&row.state).ok_or_else(corrupt("state"))?,
            progress: narrow(row.progress).ok_or_else(corrupt("progress"))?,
            submitted_at: Timestamp::from_millis(row.submitted_at),
            outcome_at: row.outcome_at.map(Timestamp::from_millis),
            source: parse_all(row.source, |text| text.parse().ok())
                .ok_or_else(corrupt("source"))?,
            vouched_at: row.vouched_at.map(Timestamp::from_millis),
            claim: claimed
                .zip(claimed_at)
                .map(|(state, at)| Claim { state, at }),
            results_digest: parse_all(row.results_digest, |bytes| {
                ResultsDigest::from_bytes(&bytes)
            })
            .ok_or_else(corrupt("results_digest"))?,
            next_poll_at: row.next_poll_at.map(Timestamp::from_millis),
            polled_at: row.polled_at.map(Timestamp::from_millis),
            polls: narrow(row.polls).ok_or_else(corrupt("polls"))?,
            empty_polls: narrow(row.empty_polls).ok_or_else(corrupt("empty_polls"))?,
            missed_polls: narrow(row.missed_polls).ok_or_else(corrupt("missed_polls"))?,
        };
        Ok(Self {
            seq: Some(id),
            task,
            origin: row.origin.parse().ok().ok_or_else(corrupt("origin"))?,
            client: row.client,
            request: row.request.map(Bytes::from),
            callback_url: row.callback_url,
            refusal: row.refusal.map(Bytes::from),
            observations: narrow(row.observations).ok_or_else(corrupt("observations"))?,
            shown: parse_all(row.shown, narrow).ok_or_else(corrupt("shown"))?,
        })
    }
}

/// Parses the submission id of the row with number `seq`.
pub fn parse_id((seq, text): (i64, String)) -> Result<SubmissionId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt {
        table: "task",
        id: seq,
        column: "submission_id",
    })
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Option<T> {
    T::try_from(value).ok()
}

/// Returns `Some(None)` if there is nothing to parse, and `None` if parsing fails.
#[expect(
    clippy::option_option,
    reason = "the outer is whether it parses, the inner whether it is there"
)]
fn parse_all<T, U>(value: Option<T>, parse: impl FnOnce(T) -> Option<U>) -> Option<Option<U>> {
    match value {
        None => Some(None),
        Some(value) => parse(value).map(Some),
    }
}
