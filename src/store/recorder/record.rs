//! A row of the `task` table: the domain's task, with columns that only the store and its readers
//! need.

use bytes::Bytes;
use sqlx::FromRow;
use strum::{EnumString, IntoStaticStr};

use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::key_use::{Counted, Credits};
use crate::domain::observation::{ResultsDigest, ResultsOrder};
use crate::domain::task::{Accepted, Claim, Outcome, Phase, Polling, Stage, State, Task};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::engine::value::Value;

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
    /// The model; `None` if the task was not submitted through our API.
    pub model: Option<String>,
    /// What the app calls the task.
    pub reference: Option<String>,
    /// The request to EvoLink, without the callback URL.
    pub request: Option<Bytes>,
    /// The app's own address, to which the outcome is delivered.
    pub callback_url: Option<String>,
    /// EvoLink's refusal of the submit, byte for byte.
    pub refusal: Option<Bytes>,
    /// What EvoLink reserved for the task, or charged for it.
    pub credits: Option<Credits>,
    /// What the record added to the use of its API key when it was loaded.
    pub counted_before: Counted,
    /// The number of observations kept.
    pub observations: u16,
    /// The number of the observation whose body is shown for the task.
    pub shown: Option<u16>,
    /// How the results in that body are numbered.
    pub results_order: ResultsOrder,
}

/// The observations of one task have adjacent ids: `seq * 1024 + n`.
pub const OBSERVATIONS_PER_TASK: i64 = 1024;

// The SQL of `store::read` and the migrations contains the literal 1024.
const _: () = assert!(OBSERVATIONS_PER_TASK == 1024);

/// Generates everything that lists the columns of `task`: the SELECT list, the row, and the names
/// and values of the INSERT and the UPDATE. Each line of the table below is a column, its type in
/// the row, and its value.
macro_rules! columns {
    (
        |$record:ident, $task:ident, $accepted:ident, $id:ident|
        fixed { $($fixed:ident: $fixed_type:ty = $fixed_value:expr;)* }
        changing { $($changing:ident: $changing_type:ty = $changing_value:expr;)* }
    ) => {
        macro_rules! record_columns {
            () => {
                concat!("seq", $(", ", stringify!($fixed),)* $(", ", stringify!($changing),)*)
            };
        }

        /// A record as a database row.
        #[derive(Debug, FromRow)]
        pub struct RecordRow {
            pub seq: i64,
            $(pub $fixed: $fixed_type,)*
            $(pub $changing: $changing_type,)*
        }

        pub const COLUMNS: [&str; ["seq", $(stringify!($fixed),)* $(stringify!($changing)),*].len()] =
            ["seq", $(stringify!($fixed),)* $(stringify!($changing)),*];

        /// `seq`, and the columns that may change after the insert.
        pub const CHANGING_COLUMNS: [&str; ["seq", $(stringify!($changing)),*].len()] =
            ["seq", $(stringify!($changing)),*];

        impl Record {
            /// Returns the values of `COLUMNS`. `id` is the text of the record's own submission id.
            pub fn values<'a>(&'a self, seq: i64, $id: &'a str) -> [Value<'a>; COLUMNS.len()] {
                let ($record, $task, $accepted) = (self, &self.task, self.task.accepted());
                [seq.into(), $($fixed_value.into(),)* $($changing_value.into(),)*]
            }

            /// Returns the values of `CHANGING_COLUMNS`.
            pub fn changed_values(&self, seq: i64) -> [Value<'_>; CHANGING_COLUMNS.len()] {
                let ($record, $task, $accepted) = (self, &self.task, self.task.accepted());
                [seq.into(), $($changing_value.into(),)*]
            }
        }
    };
}

columns! {
    |record, task, accepted, id|
    fixed {
        submission_id: String = id;
        origin: String = record.origin.into_str();
        client: Option<String> = record.client.as_deref();
        model: Option<String> = record.model.as_deref();
        reference: Option<String> = record.reference.as_deref();
        request: Option<Vec<u8>> = record.request.as_deref();
        callback_url: Option<String> = record.callback_url.as_deref();
        submitted_at: i64 = task.submitted_at.as_millis();
    }
    changing {
        kind: Option<String> = task.kind.map(<&str>::from);
        task_id: Option<String> = task.task_id().map(TaskId::as_str);
        state: String = task.state().into_str();
        progress: i64 = accepted.map_or(0, |known| i64::from(known.progress));
        source: Option<String> = accepted.map(|known| known.source.into_str());
        results_digest: Option<Vec<u8>> =
            accepted.and_then(Accepted::results_digest).map(ResultsDigest::as_bytes);
        refusal: Option<Vec<u8>> = record.refusal.as_deref();
        credits: Option<i64> = record.credits.map(Credits::as_micros);
        observations: i64 = i64::from(record.observations);
        shown: Option<i64> = record.shown.map(i64::from);
        results_order: Option<String> = record.results_order.text();
        outcome_at: Option<i64> =
            accepted.and_then(Accepted::outcome_at).map(Timestamp::as_millis);
        next_poll_at: Option<i64> = task.polling.next_at.map(Timestamp::as_millis);
        polled_at: Option<i64> = task.polling.polled_at.map(Timestamp::as_millis);
        polls: i64 = i64::from(task.polling.polls);
        empty_polls: i64 = i64::from(task.polling.empty_polls);
        missed_polls: i64 = i64::from(task.polling.missed_polls);
        vouched_at: Option<i64> =
            accepted.and_then(|known| known.vouched_at).map(Timestamp::as_millis);
        claimed: Option<String> = task.claim().map(|claim| claim.state.into_str());
        claimed_at: Option<i64> = task.claim().map(|claim| claim.at.as_millis());
    }
}
pub(crate) use record_columns;

impl Record {
    pub const fn new(task: Task, origin: Origin, client: Option<String>) -> Self {
        Self {
            seq: None,
            task,
            origin,
            client,
            model: None,
            reference: None,
            request: None,
            callback_url: None,
            refusal: None,
            credits: None,
            counted_before: Counted {
                submits: 0,
                credits: Credits::from_micros(0),
            },
            observations: 0,
            shown: None,
            results_order: ResultsOrder::PLAIN,
        }
    }

    /// The API key's name, or an empty string where no keys are used.
    pub fn client_name(&self) -> &str {
        self.client.as_deref().unwrap_or_default()
    }

    /// Returns what the record adds to the use of its API key. A submit that EvoLink refused adds
    /// nothing, and a task that failed or was cancelled costs nothing.
    pub fn counted(&self) -> Counted {
        let (is_counted, has_cost) = match (self.origin, self.task.state()) {
            (Origin::Standing | Origin::Restored, _) | (Origin::Submit, State::Rejected) => {
                (false, false)
            }
            (Origin::Submit, State::Failed | State::Cancelled) => (true, false),
            (
                Origin::Submit,
                State::Submitting
                | State::SubmitUnknown
                | State::Pending
                | State::Processing
                | State::Completed
                | State::Unresolved,
            ) => (true, true),
        };
        Counted {
            submits: i64::from(is_counted),
            credits: (self.credits.filter(|_| has_cost)).unwrap_or_default(),
        }
    }
}

impl TryFrom<RecordRow> for Record {
    type Error = StoreError;

    fn try_from(row: RecordRow) -> Result<Self, StoreError> {
        let id = row.seq;
        let mut record = row.parse().map_err(|column| corrupt(id, column))?;
        record.counted_before = record.counted();
        Ok(record)
    }
}

impl RecordRow {
    /// The error is the name of the column with an impossible value.
    fn parse(self) -> Result<Record, &'static str> {
        let task = Task {
            submission_id: self.submission_id.parse().map_err(|_| "submission_id")?,
            kind: parse_all(self.kind.as_deref(), |text| text.parse().ok()).ok_or("kind")?,
            submitted_at: Timestamp::from_millis(self.submitted_at),
            phase: self.phase()?,
            polling: Polling {
                next_at: self.next_poll_at.map(Timestamp::from_millis),
                polled_at: self.polled_at.map(Timestamp::from_millis),
                polls: narrow(self.polls).ok_or("polls")?,
                empty_polls: narrow(self.empty_polls).ok_or("empty_polls")?,
                missed_polls: narrow(self.missed_polls).ok_or("missed_polls")?,
            },
        };
        Ok(Record {
            seq: Some(self.seq),
            task,
            origin: self.origin.parse().map_err(|_| "origin")?,
            client: self.client,
            model: self.model,
            reference: self.reference,
            request: self.request.map(Bytes::from),
            callback_url: self.callback_url,
            refusal: self.refusal.map(Bytes::from),
            credits: self.credits.map(Credits::from_micros),
            counted_before: Counted::default(),
            observations: narrow(self.observations).ok_or("observations")?,
            shown: parse_all(self.shown, narrow).ok_or("shown")?,
            results_order: parse_all(self.results_order.as_deref(), ResultsOrder::parse)
                .ok_or("results_order")?
                .unwrap_or_default(),
        })
    }

    /// Combines the columns that only some states have. Any other combination is a contradiction.
    fn phase(&self) -> Result<Phase, &'static str> {
        let state = self.state.parse().map_err(|_| "state")?;
        let progress = narrow(self.progress).ok_or("progress")?;
        let task_id = parse_all(self.task_id.as_deref(), TaskId::parse).ok_or("task_id")?;
        let source = parse_all(self.source.as_deref(), |text| text.parse().ok()).ok_or("source")?;
        let digest = parse_all(self.results_digest.as_deref(), ResultsDigest::from_bytes);
        let digest = digest.ok_or("results_digest")?;
        let claimed = parse_all(self.claimed.as_deref(), |text| text.parse::<State>().ok());
        let claimed = claimed.ok_or("claimed")?;
        let claim = match (claimed, self.claimed_at.map(Timestamp::from_millis)) {
            (None, None) => None,
            (Some(state), Some(at)) if state.is_outcome() => Some(Claim { state, at }),
            _ => return Err("claimed"),
        };
        let accepted = match (task_id, source, self.vouched_at, claim) {
            (Some(task_id), Some(source), vouched_at, claim) => Some(move |stage| {
                Phase::Accepted(Accepted {
                    task_id,
                    vouched_at: vouched_at.map(Timestamp::from_millis),
                    stage,
                    source,
                    progress,
                    claim,
                })
            }),
            (None, None, None, None) => None,
            (Some(_), None, ..) => return Err("source"),
            (None, ..) => return Err("task_id"),
        };
        let ended = |outcome, at| Stage::Ended {
            outcome,
            at: Timestamp::from_millis(at),
        };
        Ok(match (state, accepted, self.outcome_at, digest) {
            (State::Submitting, None, None, None) => Phase::Submitting,
            (State::SubmitUnknown, None, None, None) => Phase::SubmitUnknown,
            (State::Rejected, None, None, None) => Phase::Rejected,
            (State::Pending, Some(of), None, None) => of(Stage::Pending),
            (State::Processing, Some(of), None, None) => of(Stage::Processing),
            (State::Unresolved, Some(of), None, None) => of(Stage::Unresolved),
            (State::Completed, Some(of), Some(at), Some(digest)) => {
                of(ended(Outcome::Completed(digest), at))
            }
            (State::Failed, Some(of), Some(at), None) => of(ended(Outcome::Failed, at)),
            (State::Cancelled, Some(of), Some(at), None) => of(ended(Outcome::Cancelled, at)),
            _ => return Err("state"),
        })
    }
}

/// Parses the submission id of the row with number `seq`.
pub fn parse_id((seq, text): (i64, String)) -> Result<SubmissionId, StoreError> {
    text.parse().map_err(|_| corrupt(seq, "submission_id"))
}

const fn corrupt(id: i64, column: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: "task",
        id,
        column,
    }
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
