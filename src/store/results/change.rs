//! Changes to existing result files: loads those that a batch's entries concern, with the other
//! files of their tasks, and writes those that changed.

use super::CHANGED_AT_ONCE_MAX;
use super::batch::Files;
use super::row::{CHANGING_COLUMNS, FileRow, changing_values, file_columns};
use crate::domain::result_file::{FILES_PER_TASK, ResultFile};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::engine::writer::{Writer, on_writer};
use crate::store::recorder::entry::{Entry, FileEntry, RetriedFiles};
use crate::store::recorder::ledger::Ledger;

/// The given value is the id of a task's first file.
static LOAD: Rows<1> = Rows::new(
    concat!("SELECT ", file_columns!(), " FROM"),
    "CROSS JOIN result WHERE result.id >= given.column1 AND result.id < given.column1 + 64",
);

const FAILED: &str = concat!(
    "SELECT ",
    file_columns!(),
    " FROM result WHERE state = 'failed' ORDER BY id LIMIT $1"
);

const PAST_RETENTION: &str = concat!(
    "SELECT ",
    file_columns!(),
    " FROM result WHERE state = 'archived' AND ended_at < $2 ORDER BY ended_at LIMIT $1"
);

static UPDATE: Rows<{ CHANGING_COLUMNS.len() }> = Rows::update("result", CHANGING_COLUMNS);

/// Loads the files that `entries` concern.
pub async fn load(writer: &mut Writer, entries: &[&Entry]) -> Result<Files, StoreError> {
    let mut files = Files::default();
    let mut firsts: Vec<i64> = entries.iter().filter_map(|entry| first_of(entry)).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let firsts: Vec<_> = firsts.into_iter().map(|first| [first.into()]).collect();
    let mut rows = LOAD.fetch::<FileRow>(writer, &firsts).await?;
    for entry in entries {
        match entry {
            Entry::File(FileEntry::Retried(RetriedFiles::Failed { limit })) => {
                rows.extend(load_failed(writer, *limit).await?);
            }
            Entry::File(FileEntry::Expired { before }) => {
                rows.extend(load_past_retention(writer, *before).await?);
            }
            _ => {}
        }
    }
    for row in rows {
        let file = ResultFile::try_from(row)?;
        files.known.insert(file.id, file);
    }
    Ok(files)
}

/// Returns the id of the first file of the task whose files an entry concerns.
const fn first_of(entry: &Entry) -> Option<i64> {
    let Entry::File(entry) = entry else {
        return None;
    };
    let task_seq = match entry {
        FileEntry::Claimed { id, .. }
        | FileEntry::Ended { id, .. }
        | FileEntry::Lost { id, .. } => id.task_seq(),
        FileEntry::Retried(RetriedFiles::OfTask { task_seq }) => *task_seq,
        FileEntry::Retried(RetriedFiles::Failed { .. }) | FileEntry::Expired { .. } => return None,
    };
    Some(task_seq * FILES_PER_TASK)
}

/// Loads one file more than are to be retried. It shows whether there are more.
async fn load_failed(writer: &mut Writer, limit: u32) -> Result<Vec<FileRow>, sqlx::Error> {
    let limit = i64::from(limit.min(CHANGED_AT_ONCE_MAX)) + 1;
    on_writer!(writer, connection => sqlx::query_as(FAILED).bind(limit).fetch_all(connection))
}

async fn load_past_retention(
    writer: &mut Writer,
    before: Timestamp,
) -> Result<Vec<FileRow>, sqlx::Error> {
    on_writer!(writer, connection => sqlx::query_as(PAST_RETENTION)
        .bind(i64::from(CHANGED_AT_ONCE_MAX))
        .bind(before.as_millis())
        .fetch_all(connection))
}

/// Writes the changed files.
pub fn write(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let files = &ledger.files;
    let changed = files.changed.iter().filter_map(|id| files.known.get(id));
    let rows: Vec<_> = changed.map(changing_values).collect();
    UPDATE.add_to(script, &rows)
}
