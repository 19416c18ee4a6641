//! Which database the store is in, for operators.

use crate::store::{Store, StoreError, on_pool};

const OF_SQLITE: &str = "SELECT sqlite_version()";
const OF_POSTGRES: &str = "SELECT current_setting('server_version')";
const SCHEMA: &str = "SELECT max(version) FROM _sqlx_migrations";

impl Store {
    /// The database with its version, and the number of the newest migration that it has.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn versions(&self) -> Result<String, StoreError> {
        let (name, of_database) = if self.is_shared() {
            ("PostgreSQL", OF_POSTGRES)
        } else {
            ("SQLite", OF_SQLITE)
        };
        let version: String =
            on_pool!(self, pool => sqlx::query_scalar(of_database).fetch_one(pool))?;
        let schema: i64 = on_pool!(self, pool => sqlx::query_scalar(SCHEMA).fetch_one(pool))?;
        Ok(format!("{name} {version}, schema {schema}"))
    }
}
