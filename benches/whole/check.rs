//! What was acknowledged is stored, or the whole run is worth nothing.

use std::collections::HashSet;

use anyhow::bail;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::callback::TaskNumber;
use crate::servers::Place;

/// Tasks that ended, whose callback is kept, and of which consumers are told.
const STORED: &str = "SELECT task_id FROM task WHERE state = 'completed'
    AND EXISTS (SELECT 1 FROM observation WHERE observation.id = task.seq * 1024)
    AND EXISTS (SELECT 1 FROM event WHERE event.task_seq = task.seq)";

/// Looks for every task of `acknowledged` in the database that the stopped server left.
pub async fn all_are_stored(place: &Place, acknowledged: Vec<TaskNumber>) -> anyhow::Result<()> {
    let options = SqliteConnectOptions::new().filename(place.database());
    let mut database: SqliteConnection = options.connect().await?;
    let stored: Vec<String> = sqlx::query_scalar(STORED).fetch_all(&mut database).await?;
    let stored: HashSet<String> = stored.into_iter().collect();
    let acknowledged: HashSet<TaskNumber> = acknowledged.into_iter().collect();
    let is_lost = |task: &&TaskNumber| !stored.contains(&task.id());
    let lost: Vec<&TaskNumber> = acknowledged.iter().filter(is_lost).collect();
    if let Some(first) = lost.first() {
        bail!(
            "LOST: {} of {} acknowledged callbacks are not stored, {} among them",
            lost.len(),
            acknowledged.len(),
            first.id()
        );
    }
    Ok(())
}
