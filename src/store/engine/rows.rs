//! One statement for many rows.
//!
//! The driver's cost is per round trip, not per row, so a batch writes each table with one
//! statement. PostgreSQL receives an array for each column. SQLite has no arrays, so its statement
//! texts are made for a few fixed row counts. Unused rows stay NULL and are excluded by `WHERE`.
//! That keeps texts and prepared statements few.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, FromRow};

use super::script::{Script, Wanted};
use super::value::Value;
use super::writer::Writer;
use crate::store::StoreError;

/// The row counts for which SQLite texts are made. The largest is a batch of the recorder; it stays
/// within SQLite's 32,766 parameters.
const SIZES: [usize; 14] = [1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 1024];

/// A row that both drivers can read.
pub trait AnyRow:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> AnyRow for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// A statement over rows of `COLUMNS` values. The first value of a used row is never NULL.
pub struct Rows<const COLUMNS: usize> {
    kind: Kind<COLUMNS>,
    /// The texts by number of rows. The key 0 is PostgreSQL's text, which is for any number.
    texts: Mutex<Option<HashMap<usize, Arc<str>>>>,
}

enum Kind<const COLUMNS: usize> {
    Any(&'static str, &'static str),
    Insert(&'static str, [&'static str; COLUMNS]),
    Update(&'static str, [&'static str; COLUMNS]),
}

impl<const COLUMNS: usize> Rows<COLUMNS> {
    /// The statement `HEAD given TAIL`. They refer to the values as `given.column1`,
    /// `given.column2`, …. TAIL must exclude rows whose first value is NULL.
    pub const fn new(head: &'static str, tail: &'static str) -> Self {
        Self::of(Kind::Any(head, tail))
    }

    /// Inserts rows with these columns into `table`.
    pub const fn insert(table: &'static str, columns: [&'static str; COLUMNS]) -> Self {
        Self::of(Kind::Insert(table, columns))
    }

    /// Sets `columns` in `table`. The first is the key, and rows must exist with all keys: a script
    /// that does not change all of them fails.
    pub const fn update(table: &'static str, columns: [&'static str; COLUMNS]) -> Self {
        Self::of(Kind::Update(table, columns))
    }

    const fn of(kind: Kind<COLUMNS>) -> Self {
        let texts = Mutex::new(None);
        Self { kind, texts }
    }

    /// Adds the statement over `rows` to `script`.
    pub fn add_to(
        &self,
        script: &mut Script,
        rows: &[[Value<'_>; COLUMNS]],
    ) -> Result<(), sqlx::Error> {
        let updated = match self.kind {
            Kind::Update(table, _) => Some(table),
            Kind::Any(..) | Kind::Insert(..) => None,
        };
        for chunk in rows.chunks(SIZES[SIZES.len() - 1]) {
            let wanted: Wanted = updated.map(|table| (table, chunk.len()));
            match script {
                Script::Sqlite(script) => {
                    let room = room_for(chunk.len());
                    bind_rows(&mut script.arguments, chunk, room)?;
                    script.push(&self.text_for_sqlite(chunk.len()), wanted);
                    if wanted.is_some() {
                        script.refuse_unless_changed(chunk.len())?;
                    }
                }
                Script::Postgres(statements) => {
                    let text = self.text_for_postgres(&chunk[0]);
                    statements.push((text, bind_columns(chunk)?, wanted));
                }
            }
        }
        Ok(())
    }

    /// Runs the statement over `rows` alone.
    pub async fn execute(
        &self,
        writer: &mut Writer,
        rows: &[[Value<'_>; COLUMNS]],
    ) -> Result<(), StoreError> {
        let mut script = Script::new(writer);
        self.add_to(&mut script, rows)?;
        script.run(writer).await
    }

    /// Runs the statement over `rows`, and returns the rows that it selects.
    pub async fn fetch<T: AnyRow>(
        &self,
        writer: &mut Writer,
        rows: &[[Value<'_>; COLUMNS]],
    ) -> Result<Vec<T>, sqlx::Error> {
        let mut fetched = Vec::new();
        for chunk in rows.chunks(SIZES[SIZES.len() - 1]) {
            match writer {
                Writer::Sqlite(connection) => {
                    let mut arguments = SqliteArguments::default();
                    bind_rows(&mut arguments, chunk, room_for(chunk.len()))?;
                    let text = AssertSqlSafe(self.text_for_sqlite(chunk.len()));
                    let query = sqlx::query_with(text, arguments);
                    for row in query.fetch_all(connection).await? {
                        fetched.push(T::from_row(&row)?);
                    }
                }
                Writer::Postgres(connection) => {
                    let text = AssertSqlSafe(self.text_for_postgres(&chunk[0]));
                    let query = sqlx::query_with(text, bind_columns(chunk)?);
                    for row in query.fetch_all(connection).await? {
                        fetched.push(T::from_row(&row)?);
                    }
                }
            }
        }
        Ok(fetched)
    }

    fn text_for_sqlite(&self, rows: usize) -> Arc<str> {
        let size = room_for(rows);
        self.text(size, || sqlite_values(COLUMNS, size))
    }

    fn text_for_postgres(&self, row: &[Value<'_>]) -> Arc<str> {
        self.text(0, || postgres_arrays(row))
    }

    /// Returns the text for `key`. It is safe to run, because all of its parts are ours.
    fn text(&self, key: usize, given: impl FnOnce() -> String) -> Arc<str> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let text = texts
            .get_or_insert_default()
            .entry(key)
            .or_insert_with(|| self.kind.over(&given()).into());
        Arc::clone(text)
    }
}

impl<const COLUMNS: usize> Kind<COLUMNS> {
    fn over(&self, given: &str) -> String {
        match self {
            Self::Any(head, tail) => format!("{head} {given} {tail}"),
            Self::Insert(table, columns) => {
                let columns = columns.join(", ");
                format!(
                    "INSERT INTO {table} ({columns}) SELECT * FROM {given} WHERE column1 IS NOT NULL"
                )
            }
            Self::Update(table, columns) => {
                let set = columns.iter().zip(1..).skip(1);
                let set = set.map(|(column, number)| format!("{column} = given.column{number}"));
                let (set, key) = (set.collect::<Vec<_>>().join(", "), columns[0]);
                format!("UPDATE {table} SET {set} FROM {given} WHERE {table}.{key} = given.column1")
            }
        }
    }
}

fn room_for(rows: usize) -> usize {
    let fitting = SIZES.into_iter().find(|size| *size >= rows);
    fitting.unwrap_or(rows)
}

/// Returns `(VALUES (?, …), …) AS given`. It does not use `$1`, `$2`, …: SQLite searches a list for
/// each parameter's name, and the driver asks for each of them.
fn sqlite_values(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("(VALUES {}) AS given", vec![row.as_str(); rows].join(", "))
}

/// Returns `UNNEST($1::BIGINT[], …) AS given (column1, …)`.
fn postgres_arrays(row: &[Value<'_>]) -> String {
    let (mut arrays, mut names) = (String::new(), String::new());
    for (index, value) in row.iter().enumerate() {
        let (comma, number) = (if index == 0 { "" } else { ", " }, index + 1);
        let array = match value {
            Value::Int(_) => "BIGINT[]",
            Value::Text(_) => "TEXT[]",
            Value::Blob(_) => "BYTEA[]",
        };
        write!(arrays, "{comma}${number}::{array}").expect("a String takes any text");
        write!(names, "{comma}column{number}").expect("a String takes any text");
    }
    format!("UNNEST({arrays}) AS given ({names})")
}

fn bind_rows<const COLUMNS: usize>(
    arguments: &mut SqliteArguments,
    rows: &[[Value<'_>; COLUMNS]],
    room: usize,
) -> Result<(), sqlx::Error> {
    arguments.reserve(room * COLUMNS, 0);
    for value in rows.iter().flatten() {
        match *value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Blob(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    for _ in 0..(room - rows.len()) * COLUMNS {
        arguments.add(None::<i64>).map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}

fn bind_columns<const COLUMNS: usize>(
    rows: &[[Value<'_>; COLUMNS]],
) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for index in 0..COLUMNS {
        let column = rows.iter().map(|row| row[index]);
        match rows[0][index] {
            Value::Int(_) => arguments.add(column.map(Value::int).collect::<Vec<_>>()),
            Value::Text(_) => arguments.add(column.map(Value::text).collect::<Vec<_>>()),
            Value::Blob(_) => arguments.add(column.map(Value::blob).collect::<Vec<_>>()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_for_sqlite_has_room_for_its_rows() {
        assert_eq!(sqlite_values(2, 2), "(VALUES (?, ?), (?, ?)) AS given");
        assert_eq!([1, 3, 17, 1024].map(room_for), [1, 4, 32, 1024]);
    }

    #[test]
    fn an_insert_and_an_update_name_each_column_and_its_value() {
        let columns = ["seq", "state", "shown"];
        assert_eq!(
            Kind::Insert("task", columns).over("given"),
            "INSERT INTO task (seq, state, shown) SELECT * FROM given WHERE column1 IS NOT NULL"
        );
        assert_eq!(
            Kind::Update("task", columns).over("given"),
            "UPDATE task SET state = given.column2, shown = given.column3 FROM given WHERE task.seq = given.column1"
        );
    }

    #[test]
    fn a_text_for_postgres_has_an_array_for_each_column() {
        assert_eq!(
            postgres_arrays(&[Value::Int(Some(1)), Value::Blob(None)]),
            "UNNEST($1::BIGINT[], $2::BYTEA[]) AS given (column1, column2)"
        );
    }
}
