//! The quarantine: entries put there by hand, their replay, and their totals.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::running::TestApp;
use crate::support::store::database::{Bind, Database};

/// Inserts `body` as a version that could not read it would have. Returns the entry's number.
pub async fn put(database: &Database, subject: &str, body: &str) -> i64 {
    put_from("callback", database, subject, body).await
}

/// Inserts an entry like `put`, for a body from `source`.
pub async fn put_from(source: &str, database: &Database, subject: &str, body: &str) -> i64 {
    let (digest, bytes) = (hex(&Sha256::digest(body)), body.len());
    let blob = |hex: &str| database.either(format!("x'{hex}'"), format!("decode('{hex}', 'hex')"));
    let (digest, body) = (blob(&digest), blob(&hex(body.as_bytes())));
    let insert = format!(
        "INSERT INTO quarantine (subject, kind, source, repeats, first_at, last_at, bytes, body_digest, reason, headers, body)
         VALUES ('{subject}', 'unreadable', '{source}', 0, 1757165032000, 1757165032000, {bytes}, {digest}, 'too new',
            'content-type: application/json\n', {body})"
    );
    database.execute(&insert).await;
    database
        .value(
            "SELECT max(id) FROM quarantine WHERE subject = $1",
            &[Bind::Text(subject)],
        )
        .await
}

/// Status and JSON of a replay.
pub async fn replay(app: &TestApp, id: i64) -> (u16, Value) {
    let path = format!("/v1/quarantine/{id}/replay");
    let answer = app.request(Method::POST, &path).send().await.unwrap();
    (
        answer.status().as_u16(),
        answer.json().await.unwrap_or(Value::Null),
    )
}

/// Numbers of entries and bytes: as the table of totals has them, and as counted from the rows.
pub async fn totals(database: &Database) -> [(i64, i64); 2] {
    let counted = "SELECT entries, bytes FROM quarantine_total";
    let there = "SELECT count(*), coalesce(CAST(sum(bytes) AS BIGINT), 0) FROM quarantine";
    [
        database.row(counted, &[]).await,
        database.row(there, &[]).await,
    ]
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
