//! The scan for files to fetch: those that clients wait for, then those that are due, in turns
//! between the clients.

use std::collections::{BTreeSet, VecDeque};

use tracing::{info, warn};

use super::Archiver;
use crate::domain::result_file::{FileId, FileState};
use crate::store::StoreError;
use crate::store::results::FileView;

/// The number of clients that one scan looks at. The next scan goes on after them.
const CLIENTS: u32 = 32;

/// Where the turns between the clients are.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The client from which the next scan begins.
    from: String,
    /// Whether nothing was fetched at the last scan, because the storage was nearly full.
    is_paused: bool,
    /// Whether the free space could not be measured at the last scan.
    is_unmeasured: bool,
}

impl Archiver {
    /// Finds at most `limit` files to fetch that are not `running`.
    pub(super) async fn scan(
        &self,
        turns: &mut Turns,
        running: &BTreeSet<FileId>,
        limit: usize,
    ) -> Result<Vec<FileView>, StoreError> {
        if self.is_low(turns).await {
            return Ok(Vec::new());
        }
        let mut found = self.wanted(running, limit).await?;
        let mut known: BTreeSet<FileId> = running.clone();
        known.extend(found.iter().map(|view| view.file.id));
        let mut queues = self.queues(turns, &known, limit).await?;
        // One file of each client in turn, until there is no room or nothing left.
        while found.len() < limit && !queues.is_empty() {
            queues.retain_mut(|queue| {
                if found.len() < limit {
                    found.extend(queue.pop_front());
                }
                !queue.is_empty()
            });
        }
        Ok(found)
    }

    /// The files that clients wait for.
    async fn wanted(
        &self,
        running: &BTreeSet<FileId>,
        limit: usize,
    ) -> Result<Vec<FileView>, StoreError> {
        let mut found = Vec::new();
        for id in self.dependencies.fetches.take_wanted(limit) {
            if running.contains(&id) {
                continue;
            }
            let view = self.dependencies.store.find_file(id).await?;
            found.extend(view.filter(|view| view.file.state() == FileState::Pending));
        }
        Ok(found)
    }

    /// The due files of the next clients, one queue for each client.
    async fn queues(
        &self,
        turns: &mut Turns,
        known: &BTreeSet<FileId>,
        limit: usize,
    ) -> Result<Vec<VecDeque<FileView>>, StoreError> {
        let (store, now) = (&self.dependencies.store, self.dependencies.clock.now());
        let holder = self.dependencies.holder.as_str();
        let mut clients = store.list_clients_with_files(&turns.from, CLIENTS).await?;
        if clients.len() < CLIENTS as usize && !turns.from.is_empty() {
            let first = store.list_clients_with_files("", CLIENTS).await?;
            clients.extend(first.into_iter().filter(|client| *client < turns.from));
            clients.truncate(CLIENTS as usize);
        }
        // The next scan begins with the second client of this one.
        turns.from = clients.get(1).cloned().unwrap_or_default();
        // Files that are running are listed too.
        let rows = u32::try_from(limit + known.len()).unwrap_or(u32::MAX);
        let mut queues = Vec::new();
        for client in clients {
            let due = store.list_due_files(&client, now, holder, rows).await?;
            let due = due.into_iter().filter(|due| !known.contains(&due.file.id));
            let due: VecDeque<FileView> = due.collect();
            if !due.is_empty() {
                queues.push(due);
            }
        }
        Ok(queues)
    }

    /// Whether the storage has less free space than `archive.min_free`. Files stay pending then.
    async fn is_low(&self, turns: &mut Turns) -> bool {
        let min_free = self.dependencies.min_free;
        let free = match self.dependencies.storage.bytes_free().await {
            Ok(free) => {
                turns.is_unmeasured = false;
                free
            }
            Err(error) => {
                // Not at every scan: a folder that is gone may be gone for long.
                if !std::mem::replace(&mut turns.is_unmeasured, true) {
                    warn!(error = %error, "could not measure the free space of the archive: {error}");
                }
                None
            }
        };
        let is_low = free.is_some_and(|free| free < min_free);
        self.dependencies.metrics.archive_paused(is_low);
        match (turns.is_paused, is_low) {
            (false, true) => warn!(
                free,
                min_free,
                "the archive has less free space than archive.min_free: no results are fetched until there is more"
            ),
            (true, false) => info!("the archive has space again: results are fetched"),
            (false, false) | (true, true) => {}
        }
        turns.is_paused = is_low;
        is_low
    }
}
