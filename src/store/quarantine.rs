//! Callbacks that could not be applied, kept with their bytes so that nothing EvoLink said is lost. Bounded: the holder
//! of one callback URL must not be able to fill the disk (rule B8).

use http::HeaderMap;
use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;

use super::StoreError;
use super::ledger::Quarantined;
use crate::domain::ids::TaskId;
use crate::domain::timestamp::Timestamp;

/// Different bodies that are kept of one callback URL; repeats are counted.
const BODIES_PER_SUBJECT: i64 = 20;

/// Headers that may hold somebody's secret.
const NOT_KEPT: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
];

/// What became of bytes that were brought to quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    New,
    Repeat,
    /// As many bodies of this subject are kept as may be.
    Dropped,
}

pub async fn keep(
    connection: &mut SqliteConnection,
    quarantined: &Quarantined,
    now: Timestamp,
) -> Result<Kept, StoreError> {
    let subject = quarantined.subject.to_string();
    let digest = Sha256::digest(&quarantined.body);
    let repeated = sqlx::query(
        "UPDATE quarantine SET repeats = repeats + 1, last_at = $3 WHERE subject = $1 AND body_digest = $2",
    )
    .bind(&subject)
    .bind(digest.as_slice())
    .bind(now.as_millis())
    .execute(&mut *connection)
    .await?;
    if repeated.rows_affected() > 0 {
        return Ok(Kept::Repeat);
    }
    let inserted = sqlx::query(
        "INSERT INTO quarantine (subject, reason, task_id, headers, body, body_digest, repeats, first_at, last_at)
         SELECT $1, $2, $3, $4, $5, $6, 0, $7, $7
         WHERE (SELECT count(*) FROM quarantine WHERE subject = $1) < $8",
    )
    .bind(&subject)
    .bind(&quarantined.reason)
    .bind(quarantined.task_id.as_ref().map(TaskId::as_str))
    .bind(headers_text(&quarantined.headers))
    .bind(quarantined.body.as_ref())
    .bind(digest.as_slice())
    .bind(now.as_millis())
    .bind(BODIES_PER_SUBJECT)
    .execute(&mut *connection)
    .await?;
    Ok(if inserted.rows_affected() > 0 {
        Kept::New
    } else {
        Kept::Dropped
    })
}

/// One `name: value` a line; bytes that are not UTF-8 are shown as U+FFFD.
fn headers_text(headers: &HeaderMap) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        if !NOT_KEPT.contains(&name.as_str()) {
            text.push_str(name.as_str());
            text.push_str(": ");
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
            text.push('\n');
        }
    }
    text
}
