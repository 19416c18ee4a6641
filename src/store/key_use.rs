//! The use of API keys in the store: what the recorder compares with their limits, and what it adds
//! in each batch.
//!
//! What a task adds follows from its record alone (`Record::counted`). A batch writes the difference
//! to what the record added before, so nothing is counted twice or forgotten.

use std::collections::BTreeMap;

use super::engine::rows::Rows;
use super::engine::script::Script;
use super::engine::value::Value;
use super::engine::writer::Writer;
use super::recorder::entry::Entry;
use super::recorder::ledger::Ledger;
use super::{Store, StoreError, on_pool};
use crate::domain::key_use::{Counted, Credits, Day, KeyUse, Uses};

/// How long the use of a day is kept.
const DAYS_KEPT: i64 = 400;

static LOAD: Rows<2> = Rows::new(
    "SELECT key_use.client, key_use.day, submits, credits, spent_until FROM",
    "CROSS JOIN key_use WHERE key_use.day = given.column1 AND key_use.client = given.column2",
);

static ADD_DAY: Rows<2> = Rows::new(
    "INSERT INTO key_use (day, client, submits, credits, spent_until)
        SELECT column1, column2, 0, 0, 0 FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT (day, client) DO NOTHING",
);

// A sum never becomes negative, even if a row was lost with an older backup.
static ADD: Rows<5> = Rows::new(
    "UPDATE key_use SET
        submits = CASE WHEN key_use.submits + given.column3 < 0 THEN 0 ELSE key_use.submits + given.column3 END,
        credits = CASE WHEN key_use.credits + given.column4 < 0 THEN 0 ELSE key_use.credits + given.column4 END,
        spent_until = CASE WHEN key_use.spent_until < given.column5 THEN given.column5 ELSE key_use.spent_until END
    FROM",
    "WHERE key_use.day = given.column1 AND key_use.client = given.column2",
);

static REMOVE_OLD: Rows<1> = Rows::new(
    "DELETE FROM key_use WHERE (day, client) IN (SELECT old.day, old.client FROM",
    "CROSS JOIN key_use AS old WHERE old.day < given.column1 ORDER BY old.day, old.client LIMIT 64)",
);

const OF_DAY: &str = "SELECT client, submits, credits FROM key_use WHERE day = $1
    ORDER BY day, client LIMIT $2";
const OF_KEY: &str = "SELECT client, submits, credits FROM key_use WHERE day = $1 AND client = $2";

/// Each statement here that reads, with the PostgreSQL types of its parameters. An index answers
/// all of them.
pub const STATEMENTS: [(&str, &str); 2] = [(OF_DAY, "bigint, bigint"), (OF_KEY, "bigint, text")];

/// More keys than a configuration has.
const KEYS_MAX: i64 = 10_000;

/// Loads what the intents of a batch are compared with.
pub async fn load(writer: &mut Writer, entries: &[&Entry]) -> Result<Uses, StoreError> {
    let mut uses = Uses::new();
    for entry in entries {
        if let Entry::Intent(intent) = entry
            && intent.limits.has_any()
        {
            let day = Day::of(intent.submission_id.made_at());
            uses.entry((intent.client_name().to_owned(), day))
                .or_default();
        }
    }
    let wanted: Vec<[Value<'_>; 2]> = uses
        .keys()
        .map(|(client, day)| [day.number().into(), client.as_str().into()])
        .collect();
    let rows = LOAD
        .fetch::<(String, i64, i64, i64, i64)>(writer, &wanted)
        .await?;
    for (client, day, submits, credits, spent_until) in rows {
        let mut known = uses.iter_mut();
        let found = known.find(|((name, of), _)| *name == client && of.number() == day);
        if let Some((_, used)) = found {
            *used = KeyUse {
                submits,
                credits: Credits::from_micros(credits),
                spent_until,
            };
        }
    }
    Ok(uses)
}

/// Writes what the records of a batch add to the uses of their keys.
pub fn write(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let mut added: BTreeMap<(Day, &str), Counted> = BTreeMap::new();
    for record in &ledger.records {
        let counted = record.counted();
        if counted != record.counted_before {
            let day = Day::of(record.task.submitted_at);
            let sum = added.entry((day, record.client_name())).or_default();
            sum.submits += counted.submits - record.counted_before.submits;
            let credits = counted.credits.as_micros() - record.counted_before.credits.as_micros();
            sum.credits = Credits::from_micros(sum.credits.as_micros() + credits);
        }
    }
    let days: Vec<_> = added
        .keys()
        .map(|(day, client)| [day.number().into(), (*client).into()])
        .collect();
    ADD_DAY.add_to(script, &days)?;
    let rows: Vec<_> = added
        .iter()
        .map(|((day, client), sum)| {
            let used = ledger.uses.get(&((*client).to_owned(), *day));
            [
                day.number().into(),
                (*client).into(),
                sum.submits.into(),
                sum.credits.as_micros().into(),
                used.map_or(0, |used| used.spent_until).into(),
            ]
        })
        .collect();
    ADD.add_to(script, &rows)?;
    let oldest = Day::of(ledger.now).before(DAYS_KEPT);
    let old: Vec<_> = (added.first_key_value().into_iter())
        .map(|_| [oldest.number().into()])
        .collect();
    REMOVE_OLD.add_to(script, &old)
}

impl Store {
    /// Lists the use of a day: of one key, or of all.
    pub async fn list_key_use(
        &self,
        day: Day,
        client: Option<&str>,
    ) -> Result<Vec<(String, Counted)>, StoreError> {
        let rows: Vec<(String, i64, i64)> = match client {
            Some(client) => on_pool!(self, pool => sqlx::query_as(OF_KEY)
                .bind(day.number())
                .bind(client)
                .fetch_all(pool))?,
            None => on_pool!(self, pool => sqlx::query_as(OF_DAY)
                .bind(day.number())
                .bind(KEYS_MAX)
                .fetch_all(pool))?,
        };
        let uses = rows.into_iter().map(|(client, submits, credits)| {
            let credits = Credits::from_micros(credits);
            (client, Counted { submits, credits })
        });
        Ok(uses.collect())
    }
}
