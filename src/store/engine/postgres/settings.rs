//! Settings of the server that decide what a power cut takes.

use sqlx::PgConnection;

/// Lists settings by which the server does not wait for its disk, whatever we request.
pub async fn non_durable_settings(
    connection: &mut PgConnection,
) -> Result<Vec<&'static str>, sqlx::Error> {
    let mut found = Vec::new();
    for name in ["fsync", "full_page_writes"] {
        if setting(connection, name).await? == "off" {
            found.push(name);
        }
    }
    Ok(found)
}

async fn setting(connection: &mut PgConnection, name: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(connection)
        .await
}
