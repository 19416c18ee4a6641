//! Callbacks that could not be applied, kept with their bytes so that nothing EvoLink said is lost. Bounded: the holder
//! of one callback URL must not be able to fill the disk (rule B8).

use std::collections::{BTreeSet, HashMap};

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::StoreError;
use super::ledger::{NewEvent, Quarantined};
use super::rows::{Rows, Value};
use super::writer::Writer;
use crate::domain::ids::TaskId;
use crate::domain::timestamp::Timestamp;

/// Different bodies that are kept of one callback URL; repeats are counted.
const BODIES_PER_SUBJECT: usize = 20;

/// Headers that may hold somebody's secret.
const NOT_KEPT: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
];

static LOAD_KEPT: Rows<1> = Rows::new(
    "SELECT subject, body_digest FROM",
    "CROSS JOIN quarantine WHERE quarantine.subject = given.column1",
);

static COUNT_REPEATS: Rows<4> = Rows::new(
    "UPDATE quarantine SET repeats = repeats + given.column3, last_at = given.column4 FROM",
    "WHERE quarantine.subject = given.column1 AND quarantine.body_digest = given.column2",
);

static INSERT: Rows<9> = Rows::new(
    "INSERT INTO quarantine (subject, reason, task_id, headers, body, body_digest, repeats, first_at, last_at)
        SELECT * FROM",
    "WHERE column1 IS NOT NULL",
);

/// What is kept of one subject: by digest, how often it came again just now.
type Kept = HashMap<[u8; 32], i64>;

/// Bytes that are kept for the first time.
struct New {
    subject: String,
    reason: String,
    digest: [u8; 32],
    headers: String,
    quarantined: Quarantined,
}

/// Keeps what is new and counts what is repeated, and gives the events of what is new. Beyond the bound, bytes are dropped.
pub async fn keep(
    writer: &mut Writer,
    brought: Vec<Quarantined>,
    now: Timestamp,
) -> Result<Vec<NewEvent>, StoreError> {
    let mut kept = load(writer, &brought).await?;
    let mut new: Vec<New> = Vec::new();
    for quarantined in brought {
        let subject = quarantined.subject.to_string();
        let digest = Sha256::digest(&quarantined.body).into();
        let of_subject = kept.entry(subject.clone()).or_default();
        if let Some(repeats) = of_subject.get_mut(&digest) {
            *repeats += 1;
        } else if of_subject.len() < BODIES_PER_SUBJECT {
            of_subject.insert(digest, 0);
            new.push(New {
                subject,
                // It may quote what came, and PostgreSQL takes no NUL in a text (RELIABILITY F13).
                reason: quarantined.reason.replace('\0', "\u{fffd}"),
                digest,
                headers: headers_text(&quarantined.headers),
                quarantined,
            });
        }
    }
    let rows: Vec<_> = new.iter().map(|new| new.values(now)).collect();
    INSERT.execute(writer, &rows).await?;
    count_repeats(writer, &kept, now).await?;
    let events = new.into_iter().filter_map(|new| new.quarantined.event);
    Ok(events.collect())
}

async fn load(
    writer: &mut Writer,
    brought: &[Quarantined],
) -> Result<HashMap<String, Kept>, StoreError> {
    let subjects: BTreeSet<String> = brought
        .iter()
        .map(|quarantined| quarantined.subject.to_string())
        .collect();
    let rows: Vec<_> = subjects
        .iter()
        .map(|subject| [subject.as_str().into()])
        .collect();
    let mut kept: HashMap<String, Kept> = HashMap::new();
    for (subject, digest) in LOAD_KEPT.fetch::<(String, Vec<u8>)>(writer, &rows).await? {
        let digest = digest.try_into().map_err(|_| StoreError::Corrupt {
            table: "quarantine",
            id: 0,
            column: "body_digest",
        })?;
        kept.entry(subject).or_default().insert(digest, 0);
    }
    Ok(kept)
}

async fn count_repeats(
    writer: &mut Writer,
    kept: &HashMap<String, Kept>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (subject, digests) in kept {
        for (digest, repeats) in digests.iter().filter(|(_, repeats)| **repeats > 0) {
            rows.push([
                subject.as_str().into(),
                digest.as_slice().into(),
                (*repeats).into(),
                now.as_millis().into(),
            ]);
        }
    }
    Ok(COUNT_REPEATS.execute(writer, &rows).await?)
}

impl New {
    fn values(&self, now: Timestamp) -> [Value<'_>; 9] {
        let Quarantined { task_id, body, .. } = &self.quarantined;
        [
            self.subject.as_str().into(),
            self.reason.as_str().into(),
            task_id.as_ref().map(TaskId::as_str).into(),
            self.headers.as_str().into(),
            body.as_ref().into(),
            self.digest.as_slice().into(),
            0.into(),
            now.as_millis().into(),
            now.as_millis().into(),
        ]
    }
}

/// One `name: value` a line; bytes that are not UTF-8 are shown as U+FFFD.
fn headers_text(headers: &HeaderMap) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        if !NOT_KEPT.contains(&name.as_str()) {
            text.push_str(name.as_str());
            text.push_str(": ");
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
            text.push('\n');
        }
    }
    text
}
