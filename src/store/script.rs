//! Statements that return nothing, to be run one after the other.
//!
//! SQLite is called in a thread of its own, and each call waits for two threads to be woken: on a busy machine that takes
//! longer than what is called. So its statements are sent in one call. PostgreSQL takes them one by one.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Either, Executor as _, SqliteConnection};

use super::writer::Writer;

pub enum Script {
    Sqlite(SqliteScript),
    Postgres(Vec<(Arc<str>, PgArguments)>),
}

#[derive(Default)]
pub struct SqliteScript {
    text: String,
    statements: usize,
    /// Of all statements, in order.
    pub arguments: SqliteArguments,
}

impl Script {
    /// An empty script for `writer`.
    pub fn new(writer: &Writer) -> Self {
        match writer {
            Writer::Sqlite(_) => Self::Sqlite(SqliteScript::default()),
            Writer::Postgres(_) => Self::Postgres(Vec::new()),
        }
    }

    /// Ends the transaction. When `run` has then returned without an error, what was written survives a power cut.
    pub fn commit(&mut self) {
        match self {
            Self::Sqlite(script) => script.push("COMMIT"),
            Self::Postgres(statements) => {
                statements.push(("COMMIT".into(), PgArguments::default()));
            }
        }
    }

    /// Runs all statements, or those before the first that fails.
    pub async fn run(self, writer: &mut Writer) -> Result<(), sqlx::Error> {
        match (self, writer) {
            (Self::Sqlite(script), Writer::Sqlite(connection)) => script.run(connection).await,
            (Self::Postgres(statements), Writer::Postgres(connection)) => {
                for (text, arguments) in statements {
                    let query = sqlx::query_with(AssertSqlSafe(text), arguments);
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            }
            _ => unreachable!("a script is run by the writer that it was made for"),
        }
    }
}

impl SqliteScript {
    pub fn push(&mut self, statement: &str) {
        self.text.push_str(statement);
        self.text.push(';');
        self.statements += 1;
    }

    async fn run(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.arguments);
        let mut results = connection.fetch_many(query);
        let mut done = 0;
        while let Some(result) = results.try_next().await? {
            done += usize::from(matches!(result, Either::Left(_)));
        }
        // A thread that ended in the middle leaves no error behind, and nothing may be acknowledged for its silence.
        if done == self.statements {
            Ok(())
        } else {
            Err(sqlx::Error::WorkerCrashed)
        }
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
        whole.push("BEGIN");
        whole.push("COMMIT");
        whole.run(&mut connection).await.unwrap();
        // Nothing is done for an empty statement, as nothing is by a thread that has ended.
        let mut cut = SqliteScript::default();
        cut.push("BEGIN");
        cut.push("");
        let ended = cut.run(&mut connection).await;
        assert!(
            matches!(ended, Err(sqlx::Error::WorkerCrashed)),
            "{ended:?}"
        );
    }
}
