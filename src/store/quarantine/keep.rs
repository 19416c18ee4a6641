//! Writes a batch's bodies to quarantine. A body beyond the bounds of its callback URL is dropped
//! and counted. Beyond the global bounds, the oldest entries are removed.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::headers::headers_text;
use super::{Bounds, Kind, Total, unsigned};
use crate::domain::callback::Subject;
use crate::domain::ids::TaskId;
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::engine::rows::Rows;
use crate::store::engine::value::Value;
use crate::store::engine::writer::{Writer, on_writer};
use crate::store::recorder::ledger::{NewConflict, Quarantined};

/// The number of oldest entries that are read and removed at once, and how often that is done in
/// one batch. If the configured bounds are much lower than before, they are reached within a few
/// batches, and none of them takes long.
const EVICTED_AT_ONCE: i64 = 512;
const EVICTIONS_MAX: usize = 16;

static LOAD_KEPT: Rows<1> = Rows::new(
    "SELECT subject, body_digest, bytes FROM",
    "CROSS JOIN quarantine WHERE quarantine.subject = given.column1",
);

static COUNT_REPEATS: Rows<4> = Rows::new(
    "UPDATE quarantine SET repeats = repeats + given.column3, last_at = given.column4 FROM",
    "WHERE quarantine.subject = given.column1 AND quarantine.body_digest = given.column2",
);

#[rustfmt::skip] // A column takes no line of its own.
static INSERT: Rows<12> = Rows::insert("quarantine", [
    "subject", "kind", "source", "task_id", "repeats", "first_at", "last_at", "bytes", "body_digest", "reason",
    "headers", "body",
]);

const TOTAL: &str = "SELECT entries, bytes FROM quarantine_total WHERE id = 1";
const OLDEST: &str = "SELECT id, bytes FROM quarantine ORDER BY id LIMIT $1";
const REMOVE: &str = "DELETE FROM quarantine WHERE id <= $1";

/// What a batch did to the quarantine, to be reported after the commit.
#[derive(Default)]
pub struct Kept {
    /// Conflicts that are new, and therefore published.
    pub conflicts: Vec<NewConflict>,
    pub new: Vec<NewEntry>,
    /// The number of bodies beyond the bounds of their callback URL.
    pub dropped: u64,
    /// The number of entries removed to free space for newer ones.
    pub evicted: u64,
    /// `None` if the total did not change.
    pub total: Option<Total>,
}

/// The facts of an entry that its log line contains.
pub struct NewEntry {
    pub subject: Subject,
    pub kind: Kind,
    pub reason: String,
    pub task_id: Option<TaskId>,
}

/// The entries of one subject.
#[derive(Default)]
struct OfSubject {
    /// How often each digest was repeated in this batch.
    repeats: HashMap<[u8; 32], i64>,
    bytes: u64,
}

/// A body that is kept for the first time.
struct New {
    subject: String,
    digest: [u8; 32],
    headers: String,
    bytes: u64,
    quarantined: Quarantined,
}

/// Stores new bodies and counts repeated ones, in the transaction that `writer` has begun.
pub async fn keep(
    writer: &mut Writer,
    brought: Vec<Quarantined>,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<Kept, StoreError> {
    let mut known = load_known(writer, &brought).await?;
    let (new, dropped) = sort_out(&mut known, brought, bounds);
    let rows: Vec<_> = new.iter().map(|new| new.values(now)).collect();
    INSERT.execute(writer, &rows).await?;
    // Counted after the insert, because a new body may have come more than once.
    count_repeats(writer, &known, now).await?;
    let mut kept = Kept {
        dropped,
        ..Kept::default()
    };
    if new.is_empty() {
        return Ok(kept);
    }
    let total = on_writer!(writer, connection => sqlx::query_as(TOTAL).fetch_one(connection))?;
    let (total, evicted) = evict(writer, Total::from_row(total), bounds).await?;
    (kept.total, kept.evicted) = (Some(total), evicted);
    for New { quarantined, .. } in new {
        kept.conflicts.extend(quarantined.conflict);
        kept.new.push(NewEntry {
            subject: quarantined.subject,
            kind: quarantined.kind,
            reason: quarantined.reason,
            task_id: quarantined.task_id,
        });
    }
    Ok(kept)
}

async fn load_known(
    writer: &mut Writer,
    brought: &[Quarantined],
) -> Result<HashMap<String, OfSubject>, StoreError> {
    let subjects: BTreeSet<String> = brought
        .iter()
        .map(|quarantined| quarantined.subject.to_string())
        .collect();
    let rows: Vec<_> = subjects
        .iter()
        .map(|subject| [subject.as_str().into()])
        .collect();
    let mut known: HashMap<String, OfSubject> = HashMap::new();
    let found = LOAD_KEPT.fetch::<(String, Vec<u8>, i64)>(writer, &rows);
    for (subject, digest, bytes) in found.await? {
        let digest = digest.try_into().map_err(|_| StoreError::Corrupt {
            table: "quarantine",
            id: 0,
            column: "body_digest",
        })?;
        let of_subject = known.entry(subject).or_default();
        of_subject.repeats.insert(digest, 0);
        of_subject.bytes += unsigned(bytes);
    }
    Ok(known)
}

/// Returns the new bodies, and how many bodies are beyond the bounds of their subject.
fn sort_out(
    known: &mut HashMap<String, OfSubject>,
    brought: Vec<Quarantined>,
    bounds: &Bounds,
) -> (Vec<New>, u64) {
    let (mut new, mut dropped) = (Vec::new(), 0);
    for quarantined in brought {
        let one = New::of(quarantined);
        let of_subject = known.entry(one.subject.clone()).or_default();
        if let Some(repeats) = of_subject.repeats.get_mut(&one.digest) {
            *repeats += 1;
        } else if of_subject.repeats.len() < bounds.entries_per_subject
            && of_subject.bytes.saturating_add(one.bytes) <= bounds.bytes_per_subject
        {
            of_subject.repeats.insert(one.digest, 0);
            of_subject.bytes += one.bytes;
            new.push(one);
        } else {
            dropped += 1;
        }
    }
    (new, dropped)
}

async fn count_repeats(
    writer: &mut Writer,
    known: &HashMap<String, OfSubject>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (subject, of_subject) in known {
        let repeated = of_subject.repeats.iter();
        for (digest, repeats) in repeated.filter(|(_, repeats)| **repeats > 0) {
            rows.push([
                subject.as_str().into(),
                digest.as_slice().into(),
                (*repeats).into(),
                now.as_millis().into(),
            ]);
        }
    }
    COUNT_REPEATS.execute(writer, &rows).await
}

/// Removes the oldest entries until the rest is within the bounds. Returns the new total, and how
/// many entries were removed.
async fn evict(
    writer: &mut Writer,
    mut total: Total,
    bounds: &Bounds,
) -> Result<(Total, u64), StoreError> {
    let mut evicted = 0;
    for _ in 0..EVICTIONS_MAX {
        if total.is_within(bounds) {
            break;
        }
        let oldest: Vec<(i64, i64)> = on_writer!(writer, connection => sqlx::query_as(OLDEST)
            .bind(EVICTED_AT_ONCE)
            .fetch_all(connection))?;
        let mut last = None;
        for (id, bytes) in oldest {
            if total.is_within(bounds) {
                break;
            }
            total = total.without(unsigned(bytes));
            evicted += 1;
            last = Some(id);
        }
        let Some(last) = last else { break };
        on_writer!(writer, connection => async {
            sqlx::query(REMOVE).bind(last).execute(connection).await.map(drop)
        })?;
    }
    Ok((total, evicted))
}

impl New {
    fn of(mut quarantined: Quarantined) -> Self {
        let subject = quarantined.subject.to_string();
        let headers = headers_text(&quarantined.headers, &quarantined.subject);
        // The reason may quote the body, and PostgreSQL accepts no NUL in a text (rule F13).
        quarantined.reason = quarantined.reason.replace('\0', "\u{fffd}");
        Self {
            subject,
            digest: Sha256::digest(&quarantined.body).into(),
            bytes: (headers.len() + quarantined.body.len()) as u64,
            headers,
            quarantined,
        }
    }

    fn values(&self, now: Timestamp) -> [Value<'_>; 12] {
        let Quarantined {
            kind,
            source,
            reason,
            task_id,
            body,
            ..
        } = &self.quarantined;
        [
            self.subject.as_str().into(),
            kind.into_str().into(),
            source.into_str().into(),
            task_id.as_ref().map(TaskId::as_str).into(),
            0.into(),
            now.as_millis().into(),
            now.as_millis().into(),
            i64::try_from(self.bytes).unwrap_or(i64::MAX).into(),
            self.digest.as_slice().into(),
            reason.as_str().into(),
            self.headers.as_str().into(),
            body.as_ref().into(),
        ]
    }
}
