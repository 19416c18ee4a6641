//! Notices that the event log was set back while this process ran: an older copy was restored
//! beneath it. New events would then get ids that others have already seen, so a new epoch begins.
//!
//! On SQLite `open_files` ends the process in this case. On PostgreSQL most restores end the
//! connections, and the next connection begins the epoch (`epochs::settle_postgres`).

use tracing::warn;

use super::RecorderWorker;
use crate::store::StoreError;
use crate::store::engine::postgres::EVENT_TABLE;
use crate::store::engine::writer::{EventTable, Last, Writer};
use crate::store::epochs;

impl RecorderWorker {
    /// Notes the event table that this process starts with.
    pub async fn note_event_table(&mut self) {
        let Some(Writer::Postgres(connection)) = &mut self.writer else {
            return;
        };
        let found = sqlx::query_as(EVENT_TABLE).fetch_one(connection).await;
        let Ok::<(Option<i64>, i64), _>((newest, filenode)) = found else {
            // The first batch notes it.
            return;
        };
        let newest = newest.unwrap_or(0);
        self.events = Some(EventTable { newest, filenode });
    }
}

/// Begins a transaction, and in it a new epoch if the event log does not continue from `before`.
///
/// # Errors
/// The error of a statement.
pub async fn begin(writer: &mut Writer, before: Option<EventTable>) -> Result<Last, StoreError> {
    let last = writer.begin().await?;
    let (Some(before), Writer::Postgres(connection)) = (before, &mut *writer) else {
        return Ok(last);
    };
    if !last.events.was_rewound_since(before) {
        return Ok(last);
    }
    // No other recorder writes before this transaction ends, so no id of the old epoch is used.
    epochs::begin_within(connection).await?;
    if last.events.newest < before.newest {
        let (before, now) = (before.newest, last.events.newest);
        warn!(
            before,
            now,
            "the event log went back from event {before} to {now}: an older copy was restored while this process ran; a new epoch begins"
        );
    } else {
        warn!("the event table was replaced while this process ran; a new epoch begins");
    }
    Ok(last)
}
