//! The statements on `unanswered_submit`.

use std::collections::HashMap;
use std::time::Duration;

use super::{Row, Unanswered};
use crate::domain::delivery::Holder;
use crate::domain::ids::SubmissionId;
use crate::domain::timestamp::Timestamp;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::engine::value::Value;
use crate::store::engine::writer::Writer;
use crate::store::recorder::entry::{Entry, Intent};
use crate::store::{Store, StoreError, on_pool};

/// How long rows stay beyond every window. The time in an id is that of the replica that made it. A
/// replica whose clock is ahead must not remove rows that others still need.
const CLOCKS_APART: Duration = Duration::from_hours(1);

static LOAD: Rows<3> = Rows::new(
    "SELECT submission_id, client, fingerprint, holder, lost FROM",
    "CROSS JOIN unanswered_submit AS earlier WHERE earlier.client = given.column1
        AND earlier.fingerprint = given.column2 AND earlier.submission_id > given.column3",
);

static INSERT: Rows<4> = Rows::new(
    "INSERT INTO unanswered_submit (submission_id, client, fingerprint, holder, beats, lost)
        SELECT column1, column2, column3, column4, 0, 0 FROM",
    "WHERE column1 IS NOT NULL",
);

static LOSE: Rows<1> = Rows::new(
    "UPDATE unanswered_submit SET lost = 1 FROM",
    "WHERE unanswered_submit.submission_id = given.column1",
);

static ORPHAN: Rows<1> = Rows::new(
    "UPDATE unanswered_submit SET lost = 1, holder = '' FROM",
    "WHERE unanswered_submit.submission_id = given.column1",
);

static BEAT: Rows<1> = Rows::new(
    "UPDATE unanswered_submit SET beats = beats + 1 FROM",
    "WHERE unanswered_submit.submission_id = given.column1",
);

static REMOVE: Rows<1> = Rows::new(
    "DELETE FROM unanswered_submit WHERE submission_id IN (SELECT column1 FROM",
    ")",
);

// Removes the oldest rows, by the primary key. A few for each batch with a guarded intent keep the
// table small.
static REMOVE_OLD: Rows<1> = Rows::new(
    "DELETE FROM unanswered_submit WHERE submission_id IN (SELECT old.submission_id FROM",
    "CROSS JOIN unanswered_submit AS old WHERE old.submission_id < given.column1
        ORDER BY old.submission_id LIMIT 64)",
);

/// Selects the rows of equal submits that are still waiting according to the store, and how often
/// each has been touched.
const WAITING: &str = "SELECT submission_id, holder, beats FROM unanswered_submit
    WHERE client = $1 AND fingerprint = $2 AND submission_id > $3 AND lost = 0";

type LoadedRow = (String, String, Vec<u8>, String, i64);

/// Loads the rows with which the guarded intents of a batch are compared.
pub async fn load(
    writer: &mut Writer,
    entries: &[&Entry],
    now: Timestamp,
) -> Result<Unanswered, StoreError> {
    let wanted: HashMap<(&str, [u8; 32]), String> = guarded(entries)
        .filter_map(|intent| {
            let guard = intent.guard.as_ref()?;
            let oldest = SubmissionId::first_at(now.before(guard.window)).to_string();
            Some(((intent.client_name(), guard.fingerprint), oldest))
        })
        .collect();
    let wanted: Vec<[Value<'_>; 3]> = wanted
        .iter()
        .map(|((client, fingerprint), oldest)| {
            [
                (*client).into(),
                fingerprint.as_slice().into(),
                oldest.as_str().into(),
            ]
        })
        .collect();
    let windows = guarded(entries).filter_map(|intent| Some(intent.guard.as_ref()?.window));
    let oldest = windows
        .max()
        .map(|window| SubmissionId::first_at(now.before(window + CLOCKS_APART)));
    let mut unanswered = Unanswered {
        oldest,
        ..Unanswered::default()
    };
    for row in LOAD.fetch::<LoadedRow>(writer, &wanted).await? {
        unanswered.rows.push(read(row)?);
    }
    Ok(unanswered)
}

fn read((id, client, fingerprint, holder, lost): LoadedRow) -> Result<Row, StoreError> {
    Ok(Row {
        submission_id: id.parse().map_err(|_| corrupt("submission_id"))?,
        client,
        fingerprint: fingerprint.try_into().map_err(|_| corrupt("fingerprint"))?,
        holder: Holder::parse(&holder),
        is_lost: lost != 0,
    })
}

const fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: "unanswered_submit",
        id: 0,
        column,
    }
}

/// Writes the changes of a batch.
pub fn write(script: &mut Script, unanswered: &Unanswered) -> Result<(), sqlx::Error> {
    let made = unanswered.rows.iter();
    let made: Vec<_> = made
        .filter(|row| unanswered.made.contains(&row.submission_id))
        .map(|row| (row, row.submission_id.to_string()))
        .collect();
    let rows: Vec<_> = made
        .iter()
        .map(|(row, id)| {
            [
                id.as_str().into(),
                row.client.as_str().into(),
                row.fingerprint.as_slice().into(),
                row.holder.as_str().into(),
            ]
        })
        .collect();
    INSERT.add_to(script, &rows)?;
    each(script, &LOSE, &unanswered.lost)?;
    each(script, &ORPHAN, &unanswered.orphaned)?;
    each(script, &BEAT, &unanswered.touched)?;
    each(script, &REMOVE, &unanswered.removed)?;
    each(script, &REMOVE_OLD, unanswered.oldest.as_slice())
}

fn each(script: &mut Script, statement: &Rows<1>, ids: &[SubmissionId]) -> Result<(), sqlx::Error> {
    let ids: Vec<String> = ids.iter().map(SubmissionId::to_string).collect();
    let rows: Vec<_> = ids.iter().map(|id| [id.as_str().into()]).collect();
    statement.add_to(script, &rows)
}

fn guarded<'a>(entries: &'a [&'a Entry]) -> impl Iterator<Item = &'a Intent> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Intent(intent) if intent.guard.is_some() => Some(intent),
        _ => None,
    })
}

impl Store {
    /// Lists submits equal to this one, made after `oldest`, whose apps are still waiting according
    /// to the store. Returns the id, the holder, and how often the holder has touched the row.
    pub async fn waiting_submits(
        &self,
        client: &str,
        fingerprint: &[u8; 32],
        oldest: SubmissionId,
    ) -> Result<Vec<(SubmissionId, Holder, i64)>, StoreError> {
        let oldest = oldest.to_string();
        let rows: Vec<(String, String, i64)> = on_pool!(self, pool => sqlx::query_as(WAITING)
            .bind(client)
            .bind(fingerprint.as_slice())
            .bind(&oldest)
            .fetch_all(pool))?;
        let rows = rows.into_iter().map(|(id, holder, beats)| {
            let id = id.parse().map_err(|_| corrupt("submission_id"))?;
            Ok((id, Holder::parse(&holder), beats))
        });
        rows.collect()
    }
}
