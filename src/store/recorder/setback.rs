//! Notices that the event log was set back while this process ran: an older copy was restored
//! beneath it. New events would then get ids that others have already seen, so a new epoch begins.
//!
//! On SQLite `open_files` ends the process in this case. On PostgreSQL most restores end the
//! connections, and the next connection begins the epoch (`epochs::settle_postgres`).

use tracing::warn;

use super::RecorderWorker;
use crate::store::StoreError;
use crate::store::engine::writer::{EventTable, Last, Writer};
use crate::store::epochs;

impl RecorderWorker {
    /// Notes the event table that this process starts with.
    pub(super) async fn note_event_table(&mut self) {
        if let Some(writer) = &mut self.writer {
            // Without an answer, the first batch notes it.
            self.events = writer.event_table().await.ok().or(self.events);
        }
    }
}

/// Begins a transaction. If the event log does not continue from `before`, begins a new epoch
/// first.
///
/// # Errors
/// The error of a statement.
pub async fn begin(writer: &mut Writer, before: Option<EventTable>) -> Result<Last, StoreError> {
    let last = writer.begin().await?;
    let (Some(before), Writer::Postgres(connection)) = (before, &mut *writer) else {
        return Ok(last);
    };
    if !last.events.was_set_back_from(before) {
        return Ok(last);
    }
    if last.events.oid == before.oid {
        let (before, now) = (before.newest, last.events.newest);
        warn!(
            before,
            now,
            "the event log went back from event {before} to {now}: an older copy was restored while this process ran; a new epoch begins"
        );
    } else {
        warn!("the event table was replaced while this process ran; a new epoch begins");
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
    epochs::begin_postgres(connection).await?;
    Ok(writer.begin().await?)
}
