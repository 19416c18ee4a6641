//! The result files of a task as one text column, so that a query for tasks returns them in the
//! same row, on both databases and by one SQL text.
//!
//! Each file is a line, and its values are separated by tabs. No value can contain either: error
//! texts are stored without control characters.

use crate::domain::result_file::{FileCopy, FileId, FileState};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;

use super::row::corrupt;

/// The SQL expression for the files of the task in the row. NULL if it has none.
macro_rules! files_of_task {
    () => {
        "(SELECT string_agg(CAST(id AS TEXT) || '\t' || state || '\t' || coalesce(CAST(ended_at AS TEXT), '') || '\t'
            || coalesce(sha256, '') || '\t' || coalesce(CAST(bytes AS TEXT), '') || '\t' || coalesce(content_type, '')
            || '\t' || coalesce(CAST(width AS TEXT), '') || '\t' || coalesce(CAST(height AS TEXT), '') || '\t'
            || coalesce(error, ''), '\n')
            FROM result WHERE id >= task.seq * 64 AND id < task.seq * 64 + 64)"
    };
}
pub(crate) use files_of_task;

/// A result file as a task object shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownFile {
    pub id: FileId,
    pub state: FileState,
    pub ended_at: Option<Timestamp>,
    pub copy: Option<FileCopy>,
    pub error: Option<String>,
}

/// Parses the value of `files_of_task`. The files are in the order of their ids.
///
/// # Errors
/// `Corrupt` if a value is impossible.
pub fn parse(text: Option<&str>) -> Result<Vec<ShownFile>, StoreError> {
    let lines = text.into_iter().flat_map(|text| text.split('\n'));
    let mut files: Vec<ShownFile> = lines.map(parse_line).collect::<Result<_, _>>()?;
    files.sort_by_key(|file| file.id);
    Ok(files)
}

fn parse_line(line: &str) -> Result<ShownFile, StoreError> {
    let values: Vec<&str> = line.split('\t').collect();
    let Ok::<[&str; 9], _>(
        [
            id,
            state,
            ended_at,
            sha256,
            bytes,
            content_type,
            width,
            height,
            error,
        ],
    ) = values.try_into()
    else {
        return Err(corrupt(0, "error"));
    };
    let id: i64 = id.parse().map_err(|_| corrupt(0, "id"))?;
    let wrong = |column| move |_| corrupt(id, column);
    let copy = match sha256 {
        "" => None,
        sha256 => Some(FileCopy {
            sha256: sha256.to_owned(),
            bytes: bytes.parse().map_err(wrong("bytes"))?,
            content_type: content_type.to_owned(),
            dimensions: width.parse().ok().zip(height.parse().ok()),
        }),
    };
    let ended_at = match ended_at {
        "" => None,
        at => Some(Timestamp::from_millis(
            at.parse().map_err(wrong("ended_at"))?,
        )),
    };
    Ok(ShownFile {
        id: FileId(id),
        state: state.parse().map_err(|_| corrupt(id, "state"))?,
        ended_at,
        copy,
        error: Some(error.to_owned()).filter(|error| !error.is_empty()),
    })
}
