//! Monitors the free space of a SQLite store's file system each second. When it runs low, submits
//! are refused long before callbacks are (rule I5): an app can submit again later, but
//! EvoLink retries a callback for seven seconds only. The monitor also maintains the reserve file.
//! A PostgreSQL server monitors its own disk.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::SqliteFile;
use super::disk_space::{Reserve, Room};
use super::reserve_file;
use crate::files::folder_of;
use crate::observe::metrics::Metrics;
use crate::store::{Database, Store, StoreError};

const INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two attempts to fold the log in on a full disk. Callbacks wait for each.
const FOLD_INTERVAL: Duration = Duration::from_secs(1);

/// The results of the space watch, and its state.
#[derive(Debug, Default)]
pub struct Space {
    is_short: AtomicBool,
    /// Whether the warning was logged, so that it is not repeated each second.
    has_complained: AtomicBool,
    /// Signals that SQLite reported a full disk, so that the watch checks at once.
    was_full: Notify,
    last_fold: Mutex<Option<Fold>>,
    /// Held while space is being freed, with the time when that last succeeded. The recorder and
    /// the checkpointer may both find the disk full, and would be in each other's way.
    freeing: AsyncMutex<Option<Instant>>,
}

/// An attempt to fold the log into the database on a full disk.
#[derive(Clone, Copy, Debug)]
struct Fold {
    at: Instant,
    /// Whether the log was folded in completely.
    is_complete: bool,
}

impl Space {
    /// Returns the last attempt, if it is too early for another one.
    fn recent_fold(&self) -> Option<Fold> {
        let last = self
            .last_fold
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.filter(|fold| fold.at.elapsed() < FOLD_INTERVAL)
    }

    fn folded(&self, is_complete: bool) {
        let at = Instant::now();
        let mut last = self
            .last_fold
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(Fold { at, is_complete });
    }
}

/// The result of one check of the file system.
struct Look {
    room: Room,
    reserve: Reserve,
    has_reserve_file: bool,
    /// The error of creating the reserve file.
    failure: Option<io::Error>,
}

impl Store {
    /// Returns whether the remaining space is reserved for callbacks.
    pub fn is_nearly_full(&self) -> bool {
        self.space.is_short.load(Ordering::Relaxed)
    }

    /// Waits until the space should be checked again: at intervals, or when SQLite reported a full
    /// disk.
    pub async fn space_check_due(&self) {
        // Both ends of the wait mean the same.
        let _ = timeout(INTERVAL, self.space.was_full.notified()).await;
    }

    /// Checks the space once and acts on the result. The first call is made before anything is
    /// served. Cancels `failed` if the file system has become read-only, or if a file of the store
    /// is no longer the one that is open. On PostgreSQL there is nothing to do.
    pub async fn look_at_space(
        &self,
        min_free: u64,
        metrics: &Metrics,
        failed: &CancellationToken,
    ) {
        let Database::Sqlite(file) = &self.database else {
            return;
        };
        if let Err(error) = file.check_files()
            && error.is_fatal()
        {
            self.fail(&error, failed);
            return;
        }
        let looked = {
            let file = file.clone();
            spawn_blocking(move || look(&file, min_free)).await
        };
        let look = match looked.map_err(io::Error::other).flatten() {
            Ok(look) => look,
            Err(error) => {
                self.complain(
                    "could not read the free space of the store's file system",
                    &error,
                );
                return;
            }
        };
        metrics.store_free_bytes(look.room.free_bytes);
        if look.room.is_read_only {
            let error =
                StoreError::DiskFailed("the file system of the store is read-only".to_owned());
            self.fail(&error, failed);
        }
        match &look.failure {
            Some(error) => {
                self.complain("could not create the reserve file beside the store", error);
            }
            None => self.space.has_complained.store(false, Ordering::Relaxed),
        }
        self.judge(&look);
    }

    fn judge(&self, look: &Look) {
        let was_short = self.is_nearly_full();
        let Look { room, reserve, .. } = look;
        let is_short = reserve.is_short(room, look.has_reserve_file, was_short);
        self.space.is_short.store(is_short, Ordering::Relaxed);
        let (bytes, files) = (room.free_bytes, room.free_files);
        let wanted = reserve.bytes_wanted(look.has_reserve_file);
        if is_short && !was_short {
            warn!(
                bytes,
                files,
                wanted,
                "the store's disk is nearly full: submits are refused, callbacks are recorded"
            );
        } else if was_short && !is_short {
            info!(
                bytes,
                files, wanted, "the store's disk has space again: submits are accepted"
            );
        }
    }

    fn complain(&self, what: &str, error: &io::Error) {
        if !self.space.has_complained.swap(true, Ordering::Relaxed) {
            warn!(error = %error, "{what}");
        }
    }

    /// Frees space if `error` says that the disk is full. Folds in the log to free its space. If
    /// that fails for lack of space, or the log has none to free, releases the reserve file.
    /// `began` is the time before the work that failed. Returns whether space was freed since then,
    /// so that a retry at once is useful.
    pub async fn free_space_after(&self, error: &StoreError, began: Instant) -> bool {
        let Database::Sqlite(file) = &self.database else {
            return false;
        };
        if !matches!(error, StoreError::Full) {
            return false;
        }
        if !self.space.is_short.swap(true, Ordering::Relaxed) {
            warn!("the store's disk is full: submits are refused");
        }
        let is_freed = self.free_space(file, began).await;
        self.space.was_full.notify_one();
        is_freed
    }

    /// Frees space, unless another caller has done so since `began`. Returns whether there is more.
    async fn free_space(&self, file: &SqliteFile, began: Instant) -> bool {
        let mut freed_at = self.space.freeing.lock().await;
        if freed_at.is_some_and(|at| at >= began) {
            return true;
        }
        let is_freed = self.fold_or_release(file).await;
        if is_freed {
            *freed_at = Some(Instant::now());
        }
        is_freed
    }

    async fn fold_or_release(&self, file: &SqliteFile) -> bool {
        if let Some(fold) = self.space.recent_fold() {
            // The log has no more space to free.
            return fold.is_complete && release_reserve(file).await;
        }
        let (is_complete, is_freed) = match file.free_log().await {
            Ok(freed) if freed >= file.log_bounds.kept / 2 => {
                info!(
                    freed,
                    "the disk is full: the write-ahead log was folded into the database, which frees {freed} bytes"
                );
                (true, true)
            }
            Ok(freed) => (true, release_reserve(file).await || freed > 0),
            Err(StoreError::Full) => (true, release_reserve(file).await),
            // A reader keeps the log. Released space would only be filled by the growing log, and
            // would be missing when the reader has ended.
            Err(_) => (false, false),
        };
        self.space.folded(is_complete);
        is_freed
    }
}

/// Releases the reserve file, and folds in the log. Returns whether there was a reserve.
async fn release_reserve(file: &SqliteFile) -> bool {
    let database = file.path().to_owned();
    let removed = spawn_blocking(move || reserve_file::remove(&database)).await;
    let removed = removed.is_ok_and(|removed| removed);
    if removed {
        warn!(
            "the disk is full: the reserve file is released, which leaves some space for callbacks"
        );
        if let Err(error) = file.free_log().await {
            warn!(error = %error, "the write-ahead log could not be folded into the database");
        }
    }
    removed
}

fn look(file: &SqliteFile, min_free: u64) -> io::Result<Look> {
    let folder = folder_of(file.path());
    let mut room = Room::of(&folder)?;
    let reserve = Reserve::of(&room, min_free);
    let mut has_reserve_file = reserve_file::exists(file.path());
    let mut failure = None;
    if !has_reserve_file && !room.is_read_only && reserve.fits_reserve_file(&room) {
        failure = reserve_file::create(file.path(), reserve.reserve_file_bytes).err();
        has_reserve_file = failure.is_none();
        room = Room::of(&folder)?;
    }
    Ok(Look {
        room,
        reserve,
        has_reserve_file,
        failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn space_that_was_freed_since_the_work_began_leaves_the_reserve_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("receiver.db");
        let url = format!("sqlite:{}", database.display());
        let store = Store::open(url.as_str()).await.unwrap();
        reserve_file::create(&database, 4096).unwrap();
        let began = Instant::now();
        assert!(store.free_space_after(&StoreError::Full, began).await);
        assert!(!reserve_file::exists(&database), "the first caller frees");

        reserve_file::create(&database, 4096).unwrap();
        assert!(store.free_space_after(&StoreError::Full, began).await);
        assert!(reserve_file::exists(&database), "space was freed already");
    }
}
