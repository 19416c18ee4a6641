//! The quarantine, for operators: lists the callbacks that could not be applied, shows one with its
//! body, and replays one through the recorder, for example after a fix.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use tracing::info;

use crate::domain::ids::TaskId;
use crate::domain::observation::Observation;
use crate::domain::timestamp::Timestamp;
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::http::internal::query;
use crate::store::quarantine::{QuarantineEntry, QuarantineFilter, QuarantineWhole};
use crate::store::recorder::calls::{Observed, ReplayedFromQuarantine};
use crate::task_object::history::Mark;

const PARAMETERS: &str = "subject, limit, cursor";

/// A longer body is returned as base64 only: JSON escapes can make its text six times as long.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A page of entries, newest first.
#[derive(Debug, Serialize)]
pub struct QuarantinePage {
    data: Vec<EntryObject>,
    /// The `cursor` of the next page.
    next: Option<String>,
}

/// An entry without its body.
#[derive(Debug, Serialize)]
pub struct EntryObject {
    id: i64,
    kind: &'static str,
    reason: String,
    source: &'static str,
    /// The subject of the callback URL that it came through: a submission id, or `~` and the label
    /// of a standing callback URL.
    subject: String,
    task_id: Option<TaskId>,
    first_at: Timestamp,
    last_at: Timestamp,
    repeats: i64,
    bytes: i64,
    body_sha256: String,
    #[serde(flatten)]
    mark: Mark,
}

#[derive(Debug, Serialize)]
pub struct WholeEntry {
    #[serde(flatten)]
    entry: EntryObject,
    headers: Vec<Header>,
    /// `null` if the body is not UTF-8, or is longer than `TEXT_BYTES_MAX`.
    body: Option<String>,
    body_base64: String,
}

#[derive(Debug, Serialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
pub struct Replayed {
    result: &'static str,
    entry: EntryObject,
}

pub async fn list(
    State(state): State<InternalState>,
    RawQuery(query): RawQuery,
) -> Result<Json<QuarantinePage>, ApiError> {
    let (filter, limit) = parse_list_query(query.as_deref().unwrap_or_default())?;
    let page = state.store.list_quarantine(&filter, limit).await?;
    Ok(Json(QuarantinePage {
        data: page.entries.iter().map(EntryObject::of).collect(),
        next: page.next.map(|id| id.to_string()),
    }))
}

pub async fn show(
    State(state): State<InternalState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<WholeEntry>, ApiError> {
    let whole = find(&state, parse_id(id.ok())?).await?;
    let text = || String::from_utf8(whole.body.to_vec()).ok();
    Ok(Json(WholeEntry {
        entry: EntryObject::of(&whole.entry),
        headers: whole.headers.lines().filter_map(Header::parse).collect(),
        body: (whole.body.len() <= TEXT_BYTES_MAX).then(text).flatten(),
        body_base64: BASE64_STANDARD.encode(&whole.body),
    }))
}

/// Parses the stored body again and records the result, in one transaction with the mark on the
/// entry.
pub async fn replay(
    State(state): State<InternalState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Replayed>, ApiError> {
    let id = parse_id(id.ok())?;
    let QuarantineWhole { entry, body, .. } = find(&state, id).await?;
    let observation = Observation::parse(body).map_err(|error| {
        state.metrics.replayed("unreadable");
        ApiError::still_unreadable(&error)
    })?;
    let replaying = (state.recorder).replay(id, entry.subject.clone(), observation);
    let result = match replaying.await? {
        ReplayedFromQuarantine::Observed(Observed::Applied(verdict)) => verdict.into_str(),
        ReplayedFromQuarantine::Observed(Observed::Mismatch) => "mismatch",
        ReplayedFromQuarantine::Gone => return Err(ApiError::quarantine_not_found()),
    };
    state.metrics.replayed(result);
    info!(
        quarantine.id = id,
        result, "entry {id} of the quarantine was replayed: {result}"
    );
    // Read the entry again to show its mark. Newer entries may have displaced it in the meantime.
    let marked = state.store.find_quarantined(id).await?;
    let entry = marked.map_or(entry, |marked| marked.entry);
    Ok(Json(Replayed {
        result,
        entry: EntryObject::of(&entry),
    }))
}

impl EntryObject {
    fn of(entry: &QuarantineEntry) -> Self {
        Self {
            id: entry.id,
            kind: entry.kind.into_str(),
            reason: entry.reason.clone(),
            source: entry.source.into_str(),
            subject: entry.subject.to_string(),
            task_id: entry.task_id.clone(),
            first_at: entry.first_at,
            last_at: entry.last_at,
            repeats: entry.repeats,
            bytes: entry.bytes,
            body_sha256: hex(&entry.body_digest),
            mark: Mark::of(entry),
        }
    }
}

impl Header {
    fn parse(line: &str) -> Option<Self> {
        let (name, value) = line.split_once(": ")?;
        Some(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

async fn find(state: &InternalState, id: i64) -> Result<QuarantineWhole, ApiError> {
    let found = state.store.find_quarantined(id).await?;
    found.ok_or_else(ApiError::quarantine_not_found)
}

fn parse_id(id: Option<Path<String>>) -> Result<i64, ApiError> {
    id.and_then(|Path(id)| query::parse_number(&id))
        .ok_or_else(|| ApiError::invalid("id", "`id` must be the number of an entry"))
}

fn parse_list_query(query: &str) -> Result<(QuarantineFilter, u32), ApiError> {
    let mut filter = QuarantineFilter::default();
    let mut limit = query::LIMIT_DEFAULT;
    for (name, value) in query::parameters(query, &[])? {
        match name.as_ref() {
            "subject" => {
                let subject = value.parse();
                let subject = subject
                    .map_err(|error| ApiError::invalid("subject", format!("`subject`: {error}")));
                filter.subject = Some(subject?);
            }
            "limit" => limit = query::parse_limit(&value)?,
            "cursor" => filter.before = Some(query::cursor(query::parse_number(&value))?),
            other => return Err(query::unknown_parameter(other, PARAMETERS)),
        }
    }
    Ok((filter, limit))
}
