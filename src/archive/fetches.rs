//! The fetches of this process. A request can ask for a file, which is then fetched before all
//! others, and can follow a fetch that is under way.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::fetch::Following;
use crate::domain::result_file::FileId;

/// The files that requests wait for, and the fetches under way. Cheap to clone.
#[derive(Clone, Default)]
pub struct Fetches(Arc<Shared>);

#[derive(Default)]
struct Shared {
    wanted: Mutex<BTreeSet<FileId>>,
    wanted_more: Notify,
    running: Mutex<HashMap<FileId, Following>>,
    begun: watch::Sender<()>,
}

/// A fetch under way. It cannot be followed any more when this is dropped.
pub struct Running {
    fetches: Fetches,
    id: FileId,
}

impl Fetches {
    /// Asks the archiver to fetch a file soon. Its id stays in the set until the archiver takes it,
    /// so the set has at most one entry for each waiting request.
    pub fn want(&self, id: FileId) {
        if locked(&self.0.wanted).insert(id) {
            self.0.wanted_more.notify_one();
        }
    }

    /// Removes and returns up to `limit` wanted files, those with the lowest ids first.
    pub fn take_wanted(&self, limit: usize) -> Vec<FileId> {
        let mut wanted = locked(&self.0.wanted);
        let taken: Vec<FileId> = wanted.iter().take(limit).copied().collect();
        for id in &taken {
            wanted.remove(id);
        }
        taken
    }

    /// Waits until another file is wanted.
    pub async fn wanted_more(&self) {
        self.0.wanted_more.notified().await;
    }

    /// Lets requests follow a fetch, until the returned value is dropped.
    pub fn begin(&self, id: FileId, following: Following) -> Running {
        locked(&self.0.running).insert(id, following);
        self.0.begun.send_replace(());
        Running {
            fetches: self.clone(),
            id,
        }
    }

    /// The fetch of this file, if it is under way in this process.
    pub fn follow(&self, id: FileId) -> Option<Following> {
        locked(&self.0.running).get(&id).cloned()
    }

    /// Returns a receiver that is notified of every fetch that begins after this call.
    pub fn begun(&self) -> watch::Receiver<()> {
        self.0.begun.subscribe()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        locked(&self.fetches.0.running).remove(&self.id);
    }
}

impl std::fmt::Debug for Fetches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetches").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
