//! The newest tasks, for lists with numbered pages. These need the number of all matches, so only a
//! bounded number of tasks is examined.

use sqlx::FromRow;

use crate::domain::ids::SubmissionId;
use crate::domain::kind::Kind;
use crate::domain::task::State;
use crate::store::recorder::record::parse_id;
use crate::store::{Store, StoreError, on_pool};

/// The tasks that are examined.
const EXAMINED_MAX: i64 = 10_000;

const NEWEST: &str = "SELECT seq, submission_id, state, kind, model FROM task
    WHERE submission_id < 'z' ORDER BY submission_id DESC LIMIT $1";

const NEWEST_OF_CLIENT: &str = "SELECT seq, submission_id, state, kind, model FROM task
    WHERE (client, submission_id) >= ($2, '') AND (client, submission_id) < ($2, 'z')
    ORDER BY client DESC, submission_id DESC LIMIT $1";

/// The statements here, with the PostgreSQL types of their parameters. An index answers each.
pub const STATEMENTS: [(&str, &str); 2] = [(NEWEST, "bigint"), (NEWEST_OF_CLIENT, "bigint, text")];

/// Which tasks to list. Absent means all.
#[derive(Clone, Debug, Default)]
pub struct NewestFilter {
    pub states: Option<Vec<State>>,
    pub kind: Option<Kind>,
    pub model: Option<String>,
    pub client: Option<String>,
}

/// The newest tasks that match.
#[derive(Clone, Debug)]
pub struct Newest {
    pub ids: Vec<SubmissionId>,
    /// Whether there may be older ones that were not examined.
    pub is_cut: bool,
}

#[derive(FromRow)]
struct NewestRow {
    seq: i64,
    submission_id: String,
    state: String,
    kind: Option<String>,
    model: Option<String>,
}

impl Store {
    /// Lists the matching tasks among the newest 10,000, in all or of the client, newest first.
    pub async fn list_newest(&self, filter: &NewestFilter) -> Result<Newest, StoreError> {
        let rows: Vec<NewestRow> = match &filter.client {
            None => on_pool!(self, pool => sqlx::query_as(NEWEST)
                .bind(EXAMINED_MAX)
                .fetch_all(pool))?,
            Some(client) => on_pool!(self, pool => sqlx::query_as(NEWEST_OF_CLIENT)
                .bind(EXAMINED_MAX)
                .bind(client)
                .fetch_all(pool))?,
        };
        let is_cut = i64::try_from(rows.len()) == Ok(EXAMINED_MAX);
        let wanted = rows.into_iter().filter(|row| filter.matches(row));
        let ids = wanted.map(|row| parse_id((row.seq, row.submission_id)));
        Ok(Newest {
            ids: ids.collect::<Result<_, _>>()?,
            is_cut,
        })
    }
}

impl NewestFilter {
    fn matches(&self, row: &NewestRow) -> bool {
        let states = self.states.as_ref();
        let has_state =
            |states: &Vec<State>| states.iter().any(|it| <&str>::from(*it) == row.state);
        states.is_none_or(has_state)
            && self
                .kind
                .is_none_or(|kind| row.kind.as_deref() == Some(kind.into()))
            && (self.model.is_none() || self.model == row.model)
    }
}
