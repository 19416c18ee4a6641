//! Checks that everything acknowledged is stored. If it is not, the whole run is worthless.

use std::collections::HashSet;

use anyhow::bail;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::callback::TaskNumber;
use crate::database;
use crate::servers::Place;
use crate::targets::Target;

/// Completed tasks whose callback is stored and that have an event for consumers.
const STORED: &str = "SELECT task_id FROM task WHERE seq > $1 AND state = 'completed'
    AND EXISTS (SELECT 1 FROM observation WHERE observation.id = task.seq * 1024)
    AND EXISTS (SELECT 1 FROM event WHERE event.task_seq = task.seq)";

/// The same for qhook's schema: an event and its job.
const STORED_BY_QHOOK: &str = "SELECT unique_key FROM events
    WHERE $1 = 0 AND EXISTS (SELECT 1 FROM jobs WHERE jobs.event_id = events.id)";

/// Looks for every task of `acknowledged` in the database of the stopped server.
pub async fn all_are_stored(place: &Place, acknowledged: Vec<TaskNumber>) -> anyhow::Result<()> {
    let stored: HashSet<String> = stored(place).await?.into_iter().collect();
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

async fn stored(place: &Place) -> anyhow::Result<Vec<String>> {
    let sql = match place.target {
        Target::Qhook => STORED_BY_QHOOK,
        _ => STORED,
    };
    if place.target.is_on_postgres() {
        let mut database = database::connect(&place.store_url()).await?;
        let query = sqlx::query_scalar(sql).bind(place.last_seq);
        return Ok(query.fetch_all(&mut database).await?);
    }
    let options = SqliteConnectOptions::new().filename(place.database());
    let mut database: SqliteConnection = options.connect().await?;
    let query = sqlx::query_scalar(sql).bind(place.last_seq);
    Ok(query.fetch_all(&mut database).await?)
}
