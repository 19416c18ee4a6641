//! Statements without results, to be run one after the other.
//!
//! SQLite runs in a thread of its own, and each call has to wake two threads. On a busy machine
//! that takes longer than the statement itself. So all statements for SQLite are sent in one call.
//! PostgreSQL receives them one by one.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, SqliteConnection};

use super::writer::Writer;
use crate::store::StoreError;

/// Writes nothing if the previous statement changed exactly this many rows. Otherwise violates a
/// CHECK, which ends the script. This check is needed in SQL, because SQLite runs the whole script,
/// including COMMIT, before we have seen its results.
const REFUSE_UNLESS_CHANGED: &str =
    "INSERT INTO recorder_turn (id, taken) SELECT 0, 0 WHERE changes() <> ?";

pub enum Script {
    Sqlite(SqliteScript),
    Postgres(Vec<(Arc<str>, PgArguments, Wanted)>),
}

/// The table and the number of rows that a statement must change; `None` if that does not matter.
pub type Wanted = Option<(&'static str, usize)>;

#[derive(Default)]
pub struct SqliteScript {
    text: String,
    /// One for each statement, in order.
    wanted: Vec<Wanted>,
    /// The arguments of all statements, in order.
    pub arguments: SqliteArguments,
}

impl Script {
    /// Creates an empty script for `writer`.
    pub fn new(writer: &Writer) -> Self {
        match writer {
            Writer::Sqlite(_) => Self::Sqlite(SqliteScript::default()),
            Writer::Postgres(_) => Self::Postgres(Vec::new()),
        }
    }

    /// Appends COMMIT. If `run` then returns without an error, the changes survive a power cut.
    pub fn commit(&mut self) {
        match self {
            Self::Sqlite(script) => script.push("COMMIT", None),
            Self::Postgres(statements) => {
                statements.push(("COMMIT".into(), PgArguments::default(), None));
            }
        }
    }

    /// Returns the number of statements.
    #[cfg(test)]
    pub fn statements(&self) -> usize {
        match self {
            Self::Sqlite(script) => script.wanted.len(),
            Self::Postgres(statements) => statements.len(),
        }
    }

    /// Runs all statements, or those before the first that fails.
    ///
    /// # Errors
    /// `Corrupt` if a statement has not changed the rows that it must change. Nothing is committed
    /// then.
    pub async fn run(self, writer: &mut Writer) -> Result<(), StoreError> {
        match (self, writer) {
            (Self::Sqlite(script), Writer::Sqlite(connection)) => script.run(connection).await,
            (Self::Postgres(statements), Writer::Postgres(connection)) => {
                for (text, arguments, wanted) in statements {
                    let query = sqlx::query_with(AssertSqlSafe(text), arguments);
                    let done = query.execute(&mut *connection).await?;
                    check(wanted, done.rows_affected())?;
                }
                Ok(())
            }
            _ => unreachable!("a script is run by the writer that it was made for"),
        }
    }
}

impl SqliteScript {
    pub fn push(&mut self, statement: &str, wanted: Wanted) {
        self.text.push_str(statement);
        self.text.push(';');
        self.wanted.push(wanted);
    }

    /// Appends a check that the previous statement changed `rows` rows.
    pub fn refuse_unless_changed(&mut self, rows: usize) -> Result<(), sqlx::Error> {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        self.arguments.add(rows).map_err(sqlx::Error::Encode)?;
        self.push(REFUSE_UNLESS_CHANGED, None);
        Ok(())
    }

    async fn run(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.arguments);
        let mut results = connection.fetch_many(query);
        let mut wanted = self.wanted.into_iter();
        while let Some(result) = results.try_next().await? {
            if let Either::Left(done) = result {
                check(wanted.next().flatten(), done.rows_affected())?;
            }
        }
        // A thread that ended halfway reports no error. Fewer results than statements must not
        // count as success.
        match wanted.next() {
            None => Ok(()),
            Some(_) => Err(sqlx::Error::WorkerCrashed.into()),
        }
    }
}

fn check(wanted: Wanted, changed: u64) -> Result<(), StoreError> {
    match wanted {
        Some((table, rows)) if rows as u64 != changed => Err(StoreError::Corrupt {
            table,
            id: 0,
            column: "seq",
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    #[tokio::test]
    async fn a_statement_that_was_not_seen_to_be_done_is_an_error() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut whole = SqliteScript::default();
        whole.push("BEGIN", None);
        whole.push("COMMIT", None);
        whole.run(&mut connection).await.unwrap();
        // An empty statement has no result, just as if the thread had ended.
        let mut cut = SqliteScript::default();
        cut.push("BEGIN", None);
        cut.push("", None);
        let ended = cut.run(&mut connection).await.unwrap_err();
        assert!(matches!(ended, StoreError::Sql(_)), "{ended:?}");
    }
}
