//! The room that a SQLite store's file system has left, looked at each second. When it gets scarce submits are refused,
//! long before callbacks are (RELIABILITY I5): an app can submit again later, EvoLink calls back for seven seconds only.
//! And it keeps the `ballast`. A PostgreSQL server looks after its own disk.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::sqlite::{SqliteFile, folder_of};
use super::{Database, Store, StoreError, ballast};
use crate::metrics::Metrics;

const INTERVAL: Duration = Duration::from_secs(1);

/// Of the file system at most, so that a small one is not refused from the beginning.
const FREE_FRACTION: u64 = 8;
const BALLAST_FRACTION: u64 = 16;

const BALLAST_BYTES: u64 = 8 * 1024 * 1024;

/// Files that can still be made. The store itself needs few: a restart makes two.
const FREE_FILES: u64 = 64;

/// What the watch knows, for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Space {
    is_short: AtomicBool,
    /// Said once, not each second.
    has_complained: AtomicBool,
    /// SQLite was told that the disk is full; the watch looks at once.
    was_full: Notify,
}

/// What a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    total_bytes: u64,
    free_bytes: u64,
    /// 0 where files are not counted.
    total_files: u64,
    free_files: u64,
    is_read_only: bool,
}

/// What is to be left of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    free_bytes: u64,
    free_files: u64,
    ballast_bytes: u64,
}

/// What a look has found.
struct Look {
    room: Room,
    reserve: Reserve,
    has_ballast: bool,
    /// Of making the ballast.
    failure: Option<io::Error>,
}

impl Room {
    /// Of the file system that has `path`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = statvfs(path)?;
        Ok(Self {
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            // What is kept for root is not for us, whoever we are.
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_files: found.f_files,
            free_files: found.f_favail,
            is_read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    pub const fn free_bytes(&self) -> u64 {
        self.free_bytes
    }
}

impl Reserve {
    /// `min_free` bytes, or less on a small file system.
    pub fn of(room: &Room, min_free: u64) -> Self {
        Self {
            free_bytes: min_free.min(room.total_bytes / FREE_FRACTION),
            free_files: FREE_FILES.min(room.total_files / FREE_FRACTION),
            ballast_bytes: BALLAST_BYTES.min(room.total_bytes / BALLAST_FRACTION),
        }
    }

    /// A ballast that is not there will want its room.
    pub const fn bytes_wanted(&self, has_ballast: bool) -> u64 {
        if has_ballast {
            self.free_bytes
        } else {
            self.free_bytes.saturating_add(self.ballast_bytes)
        }
    }

    /// Whether submits are to be refused. That ends a little later than it begins, lest it come and go with each file.
    pub const fn is_short(&self, room: &Room, has_ballast: bool, was_short: bool) -> bool {
        let bytes = self.bytes_wanted(has_ballast);
        let margin = if was_short { bytes / 4 } else { 0 };
        // With no `min_free` nothing is refused early.
        let is_short_of_bytes = self.free_bytes > 0 && room.free_bytes < bytes + margin;
        is_short_of_bytes || room.free_files < self.free_files
    }

    /// Whether there is so much room that the ballast does not make it scarce.
    const fn has_room_for_ballast(&self, room: &Room) -> bool {
        let bytes = self.free_bytes.saturating_add(self.ballast_bytes);
        room.free_bytes >= bytes.saturating_mul(2) && room.free_files > self.free_files
    }
}

impl Store {
    /// Whether there is so little room left that it is kept for callbacks.
    pub fn is_nearly_full(&self) -> bool {
        self.space.is_short.load(Ordering::Relaxed)
    }

    /// Runs until `stop`. Cancels `failed` if the file system has become read-only. On PostgreSQL there is nothing to do.
    pub async fn watch_space(
        &self,
        min_free: u64,
        metrics: Metrics,
        failed: CancellationToken,
        stop: CancellationToken,
    ) {
        if matches!(self.database, Database::Postgres(_)) {
            return stop.cancelled().await;
        }
        while !stop.is_cancelled() {
            self.look_at_space(min_free, &metrics, &failed).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.space.was_full.notified() => {}
                () = sleep(INTERVAL) => {}
            }
        }
    }

    /// One look, and what follows from it. The first one comes before anything is served.
    pub async fn look_at_space(
        &self,
        min_free: u64,
        metrics: &Metrics,
        failed: &CancellationToken,
    ) {
        let Database::Sqlite(file) = &self.database else {
            return;
        };
        let looked = {
            let file = file.clone();
            spawn_blocking(move || look(&file, min_free)).await
        };
        let look = match looked.map_err(io::Error::other).flatten() {
            Ok(look) => look,
            Err(error) => {
                self.complain("how much room is left cannot be found out", &error);
                return;
            }
        };
        metrics.store_free_bytes(look.room.free_bytes);
        if look.room.is_read_only && !failed.is_cancelled() {
            error!(
                "the file system of the store is read-only: nothing is recorded until this process was started anew"
            );
            failed.cancel();
        }
        match &look.failure {
            Some(error) => self.complain("no ballast could be made beside the store", error),
            None => self.space.has_complained.store(false, Ordering::Relaxed),
        }
        self.judge(&look);
    }

    fn judge(&self, look: &Look) {
        let was_short = self.is_nearly_full();
        let Look { room, reserve, .. } = look;
        let is_short = reserve.is_short(room, look.has_ballast, was_short);
        self.space.is_short.store(is_short, Ordering::Relaxed);
        let (bytes, files) = (room.free_bytes, room.free_files);
        let wanted = reserve.bytes_wanted(look.has_ballast);
        if is_short && !was_short {
            warn!(
                bytes,
                files,
                wanted,
                "the store's disk is nearly full: submits are refused, callbacks are taken"
            );
        } else if was_short && !is_short {
            info!(
                bytes,
                files, wanted, "the store's disk has room again: submits are taken"
            );
        }
    }

    fn complain(&self, what: &str, error: &io::Error) {
        if !self.space.has_complained.swap(true, Ordering::Relaxed) {
            warn!(error = %error, "{what}");
        }
    }

    /// After `error`: if the disk is full, gives the ballast's room to callbacks. Whether there is new room, so that it is
    /// worth to try at once again.
    pub(super) async fn give_way(&self, error: &StoreError) -> bool {
        let Database::Sqlite(file) = &self.database else {
            return false;
        };
        if !matches!(error, StoreError::Full) {
            return false;
        }
        if !self.space.is_short.swap(true, Ordering::Relaxed) {
            warn!("the store's disk is full: submits are refused");
        }
        let database = file.path().to_owned();
        let removed = spawn_blocking(move || ballast::remove(&database)).await;
        let removed = removed.is_ok_and(|removed| removed);
        if removed {
            warn!("the disk is full: the ballast is removed, which leaves some room for callbacks");
        }
        self.space.was_full.notify_one();
        removed
    }
}

fn look(file: &SqliteFile, min_free: u64) -> io::Result<Look> {
    let folder = folder_of(file.path());
    let mut room = Room::of(&folder)?;
    let reserve = Reserve::of(&room, min_free);
    let mut has_ballast = ballast::is_there(file.path());
    let mut failure = None;
    if !has_ballast && !room.is_read_only && reserve.has_room_for_ballast(&room) {
        failure = ballast::make(file.path(), reserve.ballast_bytes).err();
        has_ballast = failure.is_none();
        room = Room::of(&folder)?;
    }
    Ok(Look {
        room,
        reserve,
        has_ballast,
        failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn room(total_mib: u64, free_mib: u64) -> Room {
        Room {
            total_bytes: total_mib * MIB,
            free_bytes: free_mib * MIB,
            total_files: 1000,
            free_files: 900,
            is_read_only: false,
        }
    }

    #[test]
    fn a_small_file_system_keeps_a_fraction_and_a_large_one_what_is_configured() {
        let small = Reserve::of(&room(16, 10), 64 * MIB);
        assert_eq!((small.free_bytes, small.ballast_bytes), (2 * MIB, MIB));
        let large = Reserve::of(&room(100_000, 10), 64 * MIB);
        assert_eq!((large.free_bytes, large.ballast_bytes), (64 * MIB, 8 * MIB));
        assert_eq!((small.free_files, large.free_files), (64, 64));
    }

    #[test]
    fn what_the_ballast_left_behind_does_not_count_as_room() {
        let reserve = Reserve::of(&room(16, 10), 64 * MIB);
        assert!(!reserve.is_short(&room(16, 2), true, false));
        assert!(reserve.is_short(&room(16, 1), true, false));
        assert!(reserve.is_short(&room(16, 2), false, false));
        assert!(!reserve.is_short(&room(16, 3), false, false));
        assert!(
            reserve.is_short(&room(16, 3), false, true),
            "it lasts a little longer"
        );
        assert!(!reserve.is_short(&room(16, 4), false, true));
        assert!(!reserve.has_room_for_ballast(&room(16, 5)));
        assert!(reserve.has_room_for_ballast(&room(16, 6)));
    }

    #[test]
    fn files_run_out_like_bytes_but_only_where_they_are_counted() {
        let mut few = room(1000, 900);
        (few.total_files, few.free_files) = (20, 1);
        assert!(Reserve::of(&few, 64 * MIB).is_short(&few, true, false));
        few.free_files = 2;
        assert!(!Reserve::of(&few, 64 * MIB).is_short(&few, true, false));
        (few.total_files, few.free_files) = (0, 0);
        assert!(!Reserve::of(&few, 64 * MIB).is_short(&few, true, false));
    }

    #[test]
    fn without_a_minimum_nothing_is_refused_early() {
        let reserve = Reserve::of(&room(16, 0), 0);
        assert!(!reserve.is_short(&room(16, 0), false, true));
    }
}
