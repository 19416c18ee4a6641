//! The schema: its migrations, and which of them a database has.

use sqlx::PgConnection;
use sqlx::migrate::Migrator;

use crate::store::StoreError;
use crate::store::engine::schema::{APPLIED, Schema};

/// The migrations that make up the schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// # Errors
/// `SchemaTooNew`, `SchemaDiffers`, or an error of the query.
pub async fn schema(connection: &mut PgConnection) -> Result<Schema, StoreError> {
    const TABLE: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let is_ours: bool = sqlx::query_scalar(TABLE)
        .fetch_one(&mut *connection)
        .await?;
    let applied = if is_ours {
        sqlx::query_as(APPLIED).fetch_all(connection).await?
    } else {
        Vec::new()
    };
    Schema::of(&applied, &MIGRATIONS)
}
