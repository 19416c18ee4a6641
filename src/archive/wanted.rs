//! Files that a client waits for. They are fetched before all others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::result_file::FileId;

/// The files that clients of this process wait for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WantedFiles(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ids: Mutex<BTreeSet<FileId>>,
    added: Notify,
}

impl WantedFiles {
    /// Has the file fetched soon. Its number stays until the archiver takes it, so the set has at
    /// most one entry for each waiting client.
    pub fn add(&self, id: FileId) {
        if self.ids().insert(id) {
            self.0.added.notify_one();
        }
    }

    /// Takes up to `limit` files, the oldest first.
    pub fn take(&self, limit: usize) -> Vec<FileId> {
        let mut ids = self.ids();
        let taken: Vec<FileId> = ids.iter().take(limit).copied().collect();
        for id in &taken {
            ids.remove(id);
        }
        taken
    }

    /// Waits until a file was added.
    pub async fn added(&self) {
        self.0.added.notified().await;
    }

    fn ids(&self) -> MutexGuard<'_, BTreeSet<FileId>> {
        self.0.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
