//! All rows of a store, to be compared with those after an upgrade.

use std::collections::BTreeMap;

use crate::support::store::TestStore;
use crate::support::store::database::Database;

/// The driver's own table, a row that each transaction of a recorder changes, and the janitor's.
const NOT_CONTENT: [&str; 3] = ["_sqlx_migrations", "recorder_turn", "janitor"];

/// A start adds the keys of its ring, and the first epoch of a store from before there were any.
const MAY_GROW: [&str; 2] = ["callback_key", "epoch"];

const SQLITE_COLUMNS: &str = "SELECT tables.name, columns.name FROM sqlite_schema AS tables,
    pragma_table_info(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1, columns.cid";

const POSTGRES_COLUMNS: &str =
    "SELECT table_name::text, column_name::text FROM information_schema.columns
    WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";

/// The columns of each table, and its rows as text.
#[derive(Debug, PartialEq, Eq)]
pub struct Content(BTreeMap<String, (Vec<String>, Vec<String>)>);

impl Content {
    pub async fn of(store: &TestStore) -> Self {
        let database = store.connect().await;
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let columns = database.either(SQLITE_COLUMNS, POSTGRES_COLUMNS);
        for (table, column) in database.rows::<(String, String)>(columns, &[]).await {
            tables.entry(table).or_default().push(column);
        }
        tables.retain(|table, _| !NOT_CONTENT.contains(&table.as_str()));
        let content = Self::with(&database, tables).await;
        database.close().await;
        content
    }

    async fn with(database: &Database, tables: BTreeMap<String, Vec<String>>) -> Self {
        let mut content = BTreeMap::new();
        for (table, columns) in tables {
            let values = columns.iter().map(|column| {
                database.either(
                    format!("quote({column})"),
                    format!("coalesce({column}::text, 'NULL')"),
                )
            });
            let row = values.collect::<Vec<_>>().join(" || '|' || ");
            let sql = format!("SELECT {row} FROM {table} ORDER BY 1");
            let rows = database.values(&sql, &[]).await;
            content.insert(table, (columns, rows));
        }
        Self(content)
    }

    pub fn rows(&self) -> usize {
        self.0.values().map(|(_, rows)| rows.len()).sum()
    }

    /// Asserts that each row still has its values, whatever tables and columns were added.
    pub async fn assert_kept(&self, store: &TestStore) {
        let database = store.connect().await;
        let tables = self.0.iter();
        let tables = tables.map(|(table, (columns, _))| (table.clone(), columns.clone()));
        let after = Self::with(&database, tables.collect()).await;
        database.close().await;
        for (table, (_, rows)) in &self.0 {
            let (_, found) = &after.0[table];
            let lost: Vec<_> = rows.iter().filter(|row| !found.contains(row)).collect();
            assert!(
                lost.is_empty(),
                "{table}: {} rows, such as {:?}",
                lost.len(),
                lost[0]
            );
            assert!(
                MAY_GROW.contains(&table.as_str()) || found.len() == rows.len(),
                "{table} has grown"
            );
        }
    }
}
