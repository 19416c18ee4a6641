//! One pass over everything that may be old.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Dependencies, ExportError};
use crate::domain::ids::SubmissionId;
use crate::observe::metrics::DeletedKind;
use crate::store::StoreError;
use crate::store::retention::{Cutoffs, Deleted, Deletion, OldRows};

/// Where a pass has got to. The order matters: a delivery goes before its event, an event before
/// its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Keys,
    Quarantine { after: i64 },
    Deliveries,
    Dead { after: i64 },
    Events,
    Bodies,
    Tasks { after: Option<SubmissionId> },
    Done,
    Ended,
}

/// A pass under way.
#[derive(Debug)]
pub(super) struct Pass {
    cutoffs: Cutoffs,
    stage: Stage,
    /// The rows that were deleted, by kind.
    counts: Vec<(DeletedKind, u64)>,
}

impl Pass {
    pub const fn new(cutoffs: Cutoffs) -> Self {
        Self {
            cutoffs,
            stage: Stage::Keys,
            counts: Vec::new(),
        }
    }

    /// Whether everything that was old is deleted.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Does one step. Returns whether more follow. They do not if another process has the lease.
    pub async fn step(&mut self, with: &Dependencies) -> Result<bool, ExportError> {
        let next = match self.stage {
            Stage::Keys => self.keys(with).await?,
            Stage::Quarantine { after } => self.quarantine(with, after).await?,
            Stage::Deliveries => self.deliveries(with).await?,
            Stage::Dead { after } => self.dead(with, after).await?,
            Stage::Events => self.events(with).await?,
            Stage::Bodies => self.bodies(with).await?,
            Stage::Tasks { after } => self.tasks(with, after).await?,
            Stage::Done => {
                let ended = self.delete(with, OldRows::Done).await?;
                (ended != Deleted::NotOurs).then_some(Stage::Ended)
            }
            Stage::Ended => None,
        };
        let Some(next) = next else {
            return Ok(false);
        };
        self.stage = next;
        Ok(next != Stage::Ended)
    }

    pub async fn delete(&self, with: &Dependencies, rows: OldRows) -> Result<Deleted, StoreError> {
        let deletion = Deletion {
            holder: with.holder.clone(),
            cutoffs: self.cutoffs,
            rows,
        };
        with.recorder.delete_old(deletion).await
    }

    /// Deletes rows and counts them. `None` if another process has the lease.
    async fn delete_counted(
        &mut self,
        with: &Dependencies,
        kind: DeletedKind,
        rows: OldRows,
    ) -> Result<Option<u32>, StoreError> {
        let Deleted::Rows(deleted) = self.delete(with, rows).await? else {
            return Ok(None);
        };
        with.metrics.rows_deleted(kind, deleted);
        match self.counts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += u64::from(deleted),
            None => self.counts.push((kind, u64::from(deleted))),
        }
        Ok(Some(deleted))
    }

    async fn keys(&mut self, with: &Dependencies) -> Result<Option<Stage>, StoreError> {
        let names = with.store.list_old_keys(&self.cutoffs).await?;
        let next = Stage::Quarantine { after: 0 };
        if names.is_empty() {
            return Ok(Some(next));
        }
        let rows = OldRows::Keys { names };
        let deleted = self
            .delete_counted(with, DeletedKind::IdempotencyKey, rows)
            .await?;
        Ok(deleted.map(|_| self.stage))
    }

    async fn quarantine(
        &mut self,
        with: &Dependencies,
        after: i64,
    ) -> Result<Option<Stage>, StoreError> {
        let found = with.store.list_old_quarantine(&self.cutoffs, after).await?;
        let next = found
            .next
            .map_or(Stage::Deliveries, |after| Stage::Quarantine { after });
        if found.rows.is_empty() {
            return Ok(Some(next));
        }
        let rows = OldRows::Quarantine { ids: found.rows };
        let deleted = self.delete_counted(with, DeletedKind::Quarantine, rows);
        Ok(deleted.await?.map(|_| next))
    }

    async fn deliveries(&mut self, with: &Dependencies) -> Result<Option<Stage>, StoreError> {
        let after = with.store.janitor_state().await?.deliveries_upto;
        let found = with.store.list_old_deliveries(&self.cutoffs, after).await?;
        if found.next.is_none() {
            return Ok(Some(Stage::Dead { after: 0 }));
        }
        let rows = OldRows::Deliveries {
            ids: found.rows,
            upto: found.next,
        };
        let deleted = self.delete_counted(with, DeletedKind::Delivery, rows);
        Ok(deleted.await?.map(|_| self.stage))
    }

    async fn dead(&mut self, with: &Dependencies, after: i64) -> Result<Option<Stage>, StoreError> {
        let found = with.store.list_old_dead(&self.cutoffs, after).await?;
        let next = found
            .next
            .map_or(Stage::Events, |after| Stage::Dead { after });
        if found.rows.is_empty() {
            return Ok(Some(next));
        }
        let rows = OldRows::Deliveries {
            ids: found.rows,
            upto: None,
        };
        let deleted = self.delete_counted(with, DeletedKind::Delivery, rows);
        Ok(deleted.await?.map(|_| next))
    }

    async fn events(&mut self, with: &Dependencies) -> Result<Option<Stage>, ExportError> {
        let old = with.store.list_old_events(&self.cutoffs).await?;
        let Some(last) = old.last() else {
            return Ok(Some(Stage::Bodies));
        };
        let mut exported = Vec::new();
        if let Some(export) = &with.export {
            // A task is exported before its first event goes, with all of its events.
            let events = old.iter().filter(|event| !event.is_exported());
            let tasks: BTreeSet<i64> = events.map(|event| event.task_seq).collect();
            let tasks: Vec<i64> = tasks.into_iter().collect();
            let now = with.clock.now();
            exported = export.add(&with.store, &tasks, now).await?;
        }
        let upto = last.seq;
        let rows = OldRows::Events { upto, exported };
        let deleted = self.delete_counted(with, DeletedKind::Event, rows).await?;
        // Without progress, the oldest event is still needed.
        Ok(deleted.map(|rows| if rows == 0 { Stage::Bodies } else { self.stage }))
    }

    async fn bodies(&mut self, with: &Dependencies) -> Result<Option<Stage>, StoreError> {
        let after = with.store.janitor_state().await?.bodies_upto;
        let listing = with.store.list_tasks_with_old_bodies(&self.cutoffs, after);
        let seqs = listing.await?;
        let Some(&upto) = seqs.last() else {
            return Ok(Some(Stage::Tasks { after: None }));
        };
        let rows = OldRows::Bodies { seqs, upto };
        let deleted = self.delete_counted(with, DeletedKind::ObservationBody, rows);
        Ok(deleted.await?.map(|_| self.stage))
    }

    async fn tasks(
        &mut self,
        with: &Dependencies,
        after: Option<SubmissionId>,
    ) -> Result<Option<Stage>, ExportError> {
        let found = with.store.list_old_tasks(&self.cutoffs, after).await?;
        let next = found
            .next
            .map_or(Stage::Done, |id| Stage::Tasks { after: Some(id) });
        if found.rows.is_empty() {
            return Ok(Some(next));
        }
        if let Some(export) = &with.export {
            let tasks = found.rows.iter().filter(|task| !task.is_exported);
            let tasks: Vec<i64> = tasks.map(|task| task.seq).collect();
            export.add(&with.store, &tasks, with.clock.now()).await?;
        }
        let wanted = u32::try_from(found.rows.len()).unwrap_or(u32::MAX);
        let rows = OldRows::Tasks {
            seqs: found.rows.iter().map(|task| task.seq).collect(),
        };
        let deleted = self.delete_counted(with, DeletedKind::Task, rows).await?;
        // Large tasks are left for the next batch.
        Ok(deleted.map(|rows| {
            if 0 < rows && rows < wanted {
                self.stage
            } else {
                next
            }
        }))
    }

    /// The rows that were deleted, in words. `None` if there were none.
    pub fn report(&self) -> Option<String> {
        let mut text = String::new();
        for (kind, rows) in self.counts.iter().filter(|(_, rows)| *rows > 0) {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{rows} {}", kind.in_words());
        }
        (!text.is_empty()).then_some(text)
    }
}
