//! One statement for many rows.
//!
//! The driver's price is per round trip, not per row, so a batch writes each table once. Texts are made for a few
//! sizes only, and rows that are left over stay NULL and are left out by `WHERE`: few texts, few prepared statements.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, SqliteConnection};

/// How many rows a statement has room for. The largest is a batch of the recorder, within SQLite's 32,766 parameters.
const SIZES: [usize; 7] = [1, 4, 16, 64, 128, 256, 512];

/// A value to bind.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
    Blob(Option<&'a [u8]>),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),*) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from(value: $from) -> Self {
                Self::$variant(Some(value))
            }
        }
        impl<'a> From<Option<$from>> for Value<'a> {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}
value_from!(i64 => Int, &'a str => Text, &'a [u8] => Blob);

/// A statement `HEAD (VALUES (…), …) TAIL` over rows of `COLUMNS` values, the first of which is never NULL in a row
/// that counts. Its values are `column1`, `column2`, … to HEAD and TAIL.
pub struct Rows<const COLUMNS: usize> {
    head: &'static str,
    tail: &'static str,
    texts: Mutex<Option<HashMap<usize, Arc<str>>>>,
}

impl<const COLUMNS: usize> Rows<COLUMNS> {
    pub const fn new(head: &'static str, tail: &'static str) -> Self {
        Self {
            head,
            tail,
            texts: Mutex::new(None),
        }
    }

    /// Runs the statement over `rows`, in as few round trips as their number allows; gives what it returns.
    pub async fn run(
        &self,
        connection: &mut SqliteConnection,
        rows: &[[Value<'_>; COLUMNS]],
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut returned = Vec::new();
        for chunk in rows.chunks(SIZES[SIZES.len() - 1]) {
            let size = SIZES
                .into_iter()
                .find(|size| *size >= chunk.len())
                .unwrap_or(chunk.len());
            let mut query = sqlx::query(AssertSqlSafe(self.text(size)));
            for value in chunk.iter().flatten() {
                query = bind(query, *value);
            }
            for _ in 0..(size - chunk.len()) * COLUMNS {
                query = query.bind(None::<i64>);
            }
            returned.append(&mut query.fetch_all(&mut *connection).await?);
        }
        Ok(returned)
    }

    fn text(&self, size: usize) -> Arc<str> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = texts.get_or_insert_default();
        Arc::clone(
            texts
                .entry(size)
                .or_insert_with(|| self.write_text(size).into()),
        )
    }

    fn write_text(&self, size: usize) -> String {
        let mut text = format!("{} (VALUES ", self.head);
        for row in 0..size {
            text.push_str(if row == 0 { "(" } else { ", (" });
            // Not `$1`, `$2`, …: SQLite looks a parameter's name up in a list, and the driver asks for each of them.
            text.push_str(&"?, ".repeat(COLUMNS));
            text.truncate(text.len() - 2);
            text.push(')');
        }
        text.push_str(") ");
        text.push_str(self.tail);
        text
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

fn bind<'q>(query: Query<'q>, value: Value<'q>) -> Query<'q> {
    match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_room_for_its_rows() {
        let rows = Rows::<2>::new("INSERT INTO t SELECT * FROM", "WHERE column1 IS NOT NULL");
        assert_eq!(
            rows.write_text(2),
            "INSERT INTO t SELECT * FROM (VALUES (?, ?), (?, ?)) WHERE column1 IS NOT NULL"
        );
    }
}
