//! The failed attempts of one delivery, for operators.

use sqlx::FromRow;

use super::FailedAttempt;
use crate::domain::delivery::DeliveryId;
use crate::domain::timestamp::Timestamp;
use crate::store::{Store, StoreError, on_pool};

const OF_DELIVERY: &str = "SELECT number, at, status, error FROM failed_attempt
    WHERE delivery_id = $1 ORDER BY delivery_id, number LIMIT $2";

/// The statement here, with the PostgreSQL types of its parameters. An index answers it.
pub const STATEMENTS: [(&str, &str); 1] = [(OF_DELIVERY, "bigint, bigint")];

/// More than a delivery has attempts before it is dead.
const SHOWN_MAX: i64 = 64;

#[derive(FromRow)]
struct FailedRow {
    number: i64,
    at: i64,
    status: Option<i64>,
    error: String,
}

impl Store {
    /// Lists the failed attempts of a delivery, oldest first.
    pub async fn list_failed_attempts(
        &self,
        delivery: DeliveryId,
    ) -> Result<Vec<FailedAttempt>, StoreError> {
        let rows: Vec<FailedRow> = on_pool!(self, pool => sqlx::query_as(OF_DELIVERY)
            .bind(delivery.0)
            .bind(SHOWN_MAX)
            .fetch_all(pool))?;
        let attempts = rows.into_iter().map(|row| FailedAttempt {
            delivery,
            number: u32::try_from(row.number).unwrap_or(u32::MAX),
            at: Timestamp::from_millis(row.at),
            status: row.status.and_then(|status| u16::try_from(status).ok()),
            error: row.error,
        });
        let mut attempts: Vec<FailedAttempt> = attempts.collect();
        // After a retry by an operator, the attempts with high numbers are those before it.
        attempts.sort_by_key(|attempt| attempt.at);
        Ok(attempts)
    }
}
