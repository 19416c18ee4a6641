//! The scan for files to fetch: those that clients wait for, then those that are due, in turns
//! between the clients.

use std::collections::{BTreeSet, VecDeque};

use tracing::{info, warn};

use super::Archiver;
use crate::domain::result_file::{FileId, FileState};
use crate::store::StoreError;
use crate::store::results::FileView;

/// The maximum number of clients in one scan. The next scan begins one client later.
const CLIENTS: u32 = 32;

/// The state between two scans: whose turn is next, and whether the last one was paused.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The client from which the next scan begins.
    from: String,
    /// Whether the next single slot is for a file that a client waits for.
    is_wanted_first: bool,
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
        // What clients wait for comes first, but never takes all: the files of other clients would
        // expire. With one free slot, the two take turns.
        turns.is_wanted_first ^= true;
        let share = match limit {
            1 => usize::from(turns.is_wanted_first),
            _ => limit.div_ceil(2),
        };
        let taken = self.dependencies.fetches.take_wanted(share);
        let scanned = self.find(turns, running, &taken, limit).await;
        if scanned.is_err() {
            // Clients still wait for them.
            for id in taken {
                self.dependencies.fetches.want(id);
            }
        }
        scanned
    }

    /// Finds the files that were `taken` for clients, and others that are due.
    async fn find(
        &self,
        turns: &mut Turns,
        running: &BTreeSet<FileId>,
        taken: &[FileId],
        limit: usize,
    ) -> Result<Vec<FileView>, StoreError> {
        let mut found = self.wanted(running, taken).await?;
        let mut known: BTreeSet<FileId> = running.clone();
        known.extend(found.iter().map(|view| view.file.id));
        let mut queues = self.queues(turns, &known, limit).await?;
        // One file of each client in turn, until the limit is reached or no file is left.
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
        taken: &[FileId],
    ) -> Result<Vec<FileView>, StoreError> {
        let mut found = Vec::new();
        for id in taken.iter().filter(|id| !running.contains(id)) {
            let view = self.dependencies.store.find_file(*id).await?;
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
