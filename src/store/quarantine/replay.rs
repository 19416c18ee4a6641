//! Replays a quarantine entry. Its effect and the mark on the entry are written in one transaction,
//! so both happen or neither does. An entry is applied once, however often and from wherever a
//! replay is requested.

use std::collections::HashMap;

use http::HeaderMap;

use super::{Kind, ReplayResult};
use crate::domain::callback::Subject;
use crate::domain::ids::TaskId;
use crate::domain::observation::{Observation, Source};
use crate::domain::task::Verdict;
use crate::store::StoreError;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::engine::writer::Writer;
use crate::store::recorder::entry::{Entry, Receipt};
use crate::store::recorder::ledger::Ledger;

static LOAD: Rows<1> = Rows::new(
    "SELECT id, kind, source, replay_result FROM",
    "CROSS JOIN quarantine WHERE quarantine.id = given.column1",
);

static MARK: Rows<4> = Rows::new(
    "UPDATE quarantine SET replayed_at = given.column2, replay_result = given.column3, task_id = given.column4 FROM",
    "WHERE quarantine.id = given.column1",
);

/// The stored facts about an entry that its replay depends on.
pub struct Replayable {
    kind: Kind,
    /// The source by which it came. It determines how far it is believed.
    source: Source,
    result: Option<ReplayResult>,
    /// The task that the entry turned out to be about; `None` if it was not replayed.
    marked: Option<TaskId>,
}

/// Loads the entries to be replayed, by id, if they still exist.
pub async fn load(
    writer: &mut Writer,
    entries: &[&Entry],
) -> Result<HashMap<i64, Replayable>, StoreError> {
    let ids = entries.iter().filter_map(|entry| match entry {
        Entry::FromQuarantine { id, .. } => Some([(*id).into()]),
        _ => None,
    });
    let ids: Vec<_> = ids.collect();
    let rows = LOAD.fetch::<(i64, String, String, Option<String>)>(writer, &ids);
    let parsed = rows.await?.into_iter().map(|(id, kind, source, result)| {
        let replayable = parse(&kind, &source, result.as_deref()).ok_or(StoreError::Corrupt {
            table: "quarantine",
            id,
            column: "kind",
        })?;
        Ok((id, replayable))
    });
    parsed.collect()
}

fn parse(kind: &str, source: &str, result: Option<&str>) -> Option<Replayable> {
    let result = match result {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    Some(Replayable {
        kind: kind.parse().ok()?,
        source: source.parse().ok()?,
        result,
        marked: None,
    })
}

impl Ledger {
    /// Applies the entry's body again, as it is parsed now.
    pub fn replay(&mut self, id: i64, subject: &Subject, seen: &Observation) -> Receipt {
        let Some(entry) = self.replays.get(&id) else {
            return Receipt::Gone;
        };
        if entry.result.is_some_and(ReplayResult::is_applied) {
            return Receipt::Seen {
                verdict: Verdict::Duplicate,
                restored: false,
            };
        }
        let is_told = entry.kind == Kind::Conflict || entry.result == Some(ReplayResult::Conflict);
        let (first, before) = (entry.source, self.quarantined.len());
        let headers = HeaderMap::new();
        let receipt = self.observe(subject, seen, Source::Replay, first, &headers);
        // This body is in quarantine already.
        let again = self.quarantined.split_off(before);
        let conflicts = again.into_iter().filter_map(|again| again.conflict);
        for conflict in conflicts.filter(|_| !is_told) {
            self.publish_conflict(conflict);
        }
        if let Some(entry) = self.replays.get_mut(&id) {
            entry.result = result_of(receipt);
            entry.marked = Some(seen.task_id.clone());
        }
        receipt
    }
}

const fn result_of(receipt: Receipt) -> Option<ReplayResult> {
    match receipt {
        Receipt::Seen { verdict, .. } => Some(match verdict {
            Verdict::Recorded => ReplayResult::Recorded,
            Verdict::Unchanged => ReplayResult::Unchanged,
            Verdict::Duplicate => ReplayResult::Duplicate,
            Verdict::Conflict => ReplayResult::Conflict,
        }),
        Receipt::Mismatch => Some(ReplayResult::Mismatch),
        _ => None,
    }
}

/// Writes the result of its replay to each entry.
pub fn mark(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let now = ledger.now.as_millis();
    let replayed = ledger.replays.iter();
    let rows: Vec<_> = replayed
        .filter_map(|(id, entry)| {
            let (task_id, result) = (entry.marked.as_ref()?, entry.result?);
            Some([
                (*id).into(),
                now.into(),
                result.into_str().into(),
                task_id.as_str().into(),
            ])
        })
        .collect();
    MARK.add_to(script, &rows)
}
