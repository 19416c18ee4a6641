//! A result file as a database row.

use sqlx::FromRow;

use crate::domain::delivery::{Holder, Lease};
use crate::domain::result_file::{FileCopy, FileId, FileState, ResultFile, Stage};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::engine::value::Value;

/// The columns of a result file.
macro_rules! file_columns {
    () => {
        "result.id, result.client, result.url, result.state, result.attempts, result.due_at, result.offered_until, \
         result.holder, result.lease_until, result.refreshed, result.sha256, result.bytes, result.content_type, \
         result.width, result.height, result.ended_at, result.error"
    };
}
pub(super) use file_columns;

#[derive(Debug, FromRow)]
pub struct FileRow {
    pub id: i64,
    client: String,
    url: String,
    state: String,
    attempts: i64,
    due_at: Option<i64>,
    offered_until: i64,
    holder: Option<String>,
    lease_until: Option<i64>,
    refreshed: i64,
    sha256: Option<String>,
    bytes: Option<i64>,
    content_type: Option<String>,
    width: Option<i64>,
    height: Option<i64>,
    ended_at: Option<i64>,
    error: Option<String>,
}

/// The columns that change, after the key.
pub const CHANGING_COLUMNS: [&str; 15] = [
    "id",
    "url",
    "state",
    "attempts",
    "due_at",
    "holder",
    "lease_until",
    "refreshed",
    "sha256",
    "bytes",
    "content_type",
    "width",
    "height",
    "ended_at",
    "error",
];

impl TryFrom<FileRow> for ResultFile {
    type Error = StoreError;

    fn try_from(row: FileRow) -> Result<Self, StoreError> {
        let id = row.id;
        row.parse().map_err(|column| corrupt(id, column))
    }
}

impl FileRow {
    /// The error is the name of the column with an impossible value.
    fn parse(self) -> Result<ResultFile, &'static str> {
        Ok(ResultFile {
            id: FileId(self.id),
            stage: self.stage()?,
            client: self.client,
            url: self.url,
            offered_until: Timestamp::from_millis(self.offered_until),
            attempts: u32::try_from(self.attempts).map_err(|_| "attempts")?,
            is_refreshed: self.refreshed != 0,
            error: self.error,
        })
    }

    fn stage(&self) -> Result<Stage, &'static str> {
        let state: FileState = self.state.parse().map_err(|_| "state")?;
        let lease = match (&self.holder, self.lease_until) {
            (Some(holder), Some(until)) => Some(Lease {
                holder: Holder::parse(holder),
                until: Timestamp::from_millis(until),
            }),
            (None, None) => None,
            _ => return Err("lease_until"),
        };
        let ended_at = self.ended_at.map(Timestamp::from_millis);
        Ok(match (state, self.due_at, ended_at, self.copy()?) {
            (FileState::Pending, Some(due_at), None, None) => Stage::Pending {
                due_at: Timestamp::from_millis(due_at),
                lease,
            },
            (FileState::Archived, None, Some(at), Some(copy)) => Stage::Archived { copy, at },
            (FileState::Failed, None, Some(at), None) => Stage::Failed { at },
            (FileState::Expired, None, Some(at), Some(copy)) => Stage::Expired { copy, at },
            _ => return Err("state"),
        })
    }

    fn copy(&self) -> Result<Option<FileCopy>, &'static str> {
        let (Some(sha256), Some(bytes), Some(content_type)) =
            (&self.sha256, self.bytes, &self.content_type)
        else {
            return Ok(None);
        };
        let pixels = |number: i64| u32::try_from(number).map_err(|_| "width");
        let dimensions = match self.width.zip(self.height) {
            Some((width, height)) => Some((pixels(width)?, pixels(height)?)),
            None => None,
        };
        Ok(Some(FileCopy {
            sha256: sha256.clone(),
            bytes: u64::try_from(bytes).map_err(|_| "bytes")?,
            content_type: content_type.clone(),
            dimensions,
        }))
    }
}

/// Returns the values of `CHANGING_COLUMNS`.
pub fn changing_values(file: &ResultFile) -> [Value<'_>; CHANGING_COLUMNS.len()] {
    let (due_at, lease, copy, ended_at) = match &file.stage {
        Stage::Pending { due_at, lease } => (Some(*due_at), lease.as_ref(), None, None),
        Stage::Archived { copy, at } | Stage::Expired { copy, at } => {
            (None, None, Some(copy), Some(*at))
        }
        Stage::Failed { at } => (None, None, None, Some(*at)),
    };
    let dimensions = copy.and_then(|copy| copy.dimensions);
    let bytes = copy.map(|copy| i64::try_from(copy.bytes).unwrap_or(i64::MAX));
    [
        file.id.0.into(),
        file.url.as_str().into(),
        file.state().into_str().into(),
        i64::from(file.attempts).into(),
        due_at.map(Timestamp::as_millis).into(),
        lease.map(|lease| lease.holder.as_str()).into(),
        lease.map(|lease| lease.until.as_millis()).into(),
        i64::from(file.is_refreshed).into(),
        copy.map(|copy| copy.sha256.as_str()).into(),
        bytes.into(),
        copy.map(|copy| copy.content_type.as_str()).into(),
        dimensions.map(|(width, _)| i64::from(width)).into(),
        dimensions.map(|(_, height)| i64::from(height)).into(),
        ended_at.map(Timestamp::as_millis).into(),
        file.error.as_deref().into(),
    ]
}

pub const fn corrupt(id: i64, column: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: "result",
        id,
        column,
    }
}
