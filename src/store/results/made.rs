//! New result files: their rows are written in the transaction that records the completion.

use crate::domain::observation::{Observation, RESULTS_MAX, ResultsOrder};
use crate::domain::result_file::{FileId, OFFERED_FOR, storable_url};
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::recorder::ledger::Ledger;

use super::batch::NewFiles;

static INSERT: Rows<5> = Rows::new(
    "INSERT INTO result (id, client, url, due_at, offered_until, state, attempts, refreshed)
        SELECT *, 'pending', 0, 0 FROM",
    "WHERE column1 IS NOT NULL",
);

impl Ledger {
    /// Adds the files of a task that `seen` completes. Returns whether there are any.
    pub fn create_files(&mut self, record: usize, seen: &Observation) -> bool {
        let urls: Vec<String> = seen.urls().take(RESULTS_MAX).map(storable_url).collect();
        let has_files = !urls.is_empty();
        if has_files {
            let first = 0;
            self.files.made.push(NewFiles {
                record,
                first,
                urls,
            });
        }
        has_files
    }

    /// Adds the files that `seen` has in addition to the `known` ones, with the numbers after
    /// theirs.
    pub fn create_more_files(
        &mut self,
        record: usize,
        seen: &Observation,
        order: &ResultsOrder,
        known: usize,
    ) {
        let ordered = order.apply(seen.urls()).into_iter().take(RESULTS_MAX);
        let new = ordered.skip(known).map(|(_, url)| storable_url(url));
        let urls: Vec<String> = new.collect();
        if let (false, Ok(first)) = (urls.is_empty(), i64::try_from(known)) {
            self.files.made.push(NewFiles {
                record,
                first,
                urls,
            });
        }
    }
}

/// Inserts the new files, which are due at once.
pub fn insert(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let now = ledger.now;
    let until = now.after(OFFERED_FOR);
    let mut rows = Vec::new();
    for new in &ledger.files.made {
        let record = &ledger.records[new.record];
        let Some(seq) = record.seq else { continue };
        for (number, url) in (new.first..).zip(&new.urls) {
            rows.push([
                FileId::new(seq, number).0.into(),
                record.client.as_deref().unwrap_or_default().into(),
                url.as_str().into(),
                now.as_millis().into(),
                until.as_millis().into(),
            ]);
        }
    }
    INSERT.add_to(script, &rows)
}
