//! The free space of a file system, and how much should be left. Everything except `Room::of` and
//! `check_free_files` is pure.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, major, minor, statvfs};

use super::files::{cannot_open, lock_file, log_file};
use crate::files::beside;
use crate::store::StoreError;

/// The largest part of the file system that is reserved, as a divisor. Otherwise a small one would
/// be short of space from the beginning.
const FREE_FRACTION: u64 = 8;
const RESERVE_FILE_FRACTION: u64 = 16;

const RESERVE_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// The number of files that it must still be possible to create. The store itself needs few: a
/// restart creates two.
const FREE_FILES: u64 = 64;

/// The length at which the write-ahead log is folded in completely and restarts.
const LOG_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The length that the file of a restarted log keeps at most.
const LOG_BYTES_KEPT: u64 = 16 * 1024 * 1024;

/// The size and free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// 0 where files are not counted.
    pub total_files: u64,
    pub free_files: u64,
    pub is_read_only: bool,
}

/// The space that should be left on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    pub free_bytes: u64,
    pub free_files: u64,
    pub reserve_file_bytes: u64,
}

/// The bounds of the write-ahead log. On a small file system they are a fraction of it, so that the
/// log does not fill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// Beyond this length the recorder pauses until the log is folded in.
    pub max: u64,
    /// The length to which the file of the log is cut when the log begins again.
    pub kept: u64,
}

impl LogBounds {
    /// Returns the bounds for the file system that contains `path`.
    pub fn of(path: &Path) -> Self {
        let total = Room::of(path).map_or(u64::MAX, |room| room.total_bytes);
        Self {
            max: LOG_BYTES_MAX.min(total / FREE_FRACTION),
            kept: LOG_BYTES_KEPT.min(total / RESERVE_FILE_FRACTION),
        }
    }
}

impl Room {
    /// Reads the state of the file system that contains `path`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = statvfs(path)?;
        Ok(Self {
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            // Blocks that are reserved for root do not count, even if we run as root.
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_files: found.f_files,
            free_files: found.f_favail,
            is_read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY)
                || is_given_up(&fs::metadata(path)?),
        })
    }
}

/// Checks that the file system has an inode for each file that the start must create: the lock, the
/// log and its index, and at the first start the database and its mark.
///
/// # Errors
/// `DiskFailed` if too few are left.
pub fn check_free_files(database: &Path, folder: &Path) -> Result<(), StoreError> {
    let room = Room::of(folder).map_err(|error| cannot_open(folder, &error))?;
    let lock = lock_file(database);
    let files = [log_file(database), beside(database, "-shm"), lock];
    let missing = files.iter().filter(|file| !file.exists()).count();
    let new = if database.exists() { 0 } else { 2 };
    // A file system that has no fixed number of inodes reports none.
    let needed = u64::try_from(missing).unwrap_or(u64::MAX) + new;
    if room.total_files == 0 || room.free_files >= needed {
        return Ok(());
    }
    let (free, folder) = (room.free_files, folder.display());
    let left = match free {
        0 => "no inode is".to_owned(),
        free => format!("too few inodes ({free}) are"),
    };
    Err(StoreError::DiskFailed(format!(
        "{left} left on the file system of {folder}: the start makes {needed} files: delete some other files there"
    )))
}

impl Reserve {
    /// Reserves `min_free` bytes, or less on a small file system.
    pub fn of(room: &Room, min_free: u64) -> Self {
        Self {
            free_bytes: min_free.min(room.total_bytes / FREE_FRACTION),
            free_files: FREE_FILES.min(room.total_files / FREE_FRACTION),
            reserve_file_bytes: RESERVE_FILE_BYTES.min(room.total_bytes / RESERVE_FILE_FRACTION),
        }
    }

    /// Returns the free bytes that should be left. If the reserve file does not exist yet, its size
    /// is included.
    pub const fn bytes_wanted(&self, has_reserve_file: bool) -> u64 {
        if has_reserve_file {
            self.free_bytes
        } else {
            self.free_bytes.saturating_add(self.reserve_file_bytes)
        }
    }

    /// Returns whether submits are refused for lack of space. Refusing ends at a higher level than
    /// it begins, so that it does not toggle with each file.
    pub const fn is_short(&self, room: &Room, has_reserve_file: bool, was_short: bool) -> bool {
        let bytes = self.bytes_wanted(has_reserve_file);
        let margin = if was_short { bytes / 4 } else { 0 };
        // A `min_free` of 0 turns the early refusal off.
        let is_short_of_bytes = self.free_bytes > 0 && room.free_bytes < bytes + margin;
        is_short_of_bytes || room.free_files < self.free_files
    }

    /// Returns whether creating the reserve file would leave plenty of space.
    pub const fn fits_reserve_file(&self, room: &Room) -> bool {
        let bytes = self.free_bytes.saturating_add(self.reserve_file_bytes);
        room.free_bytes >= bytes.saturating_mul(2) && room.free_files > self.free_files
    }
}

/// Returns whether the kernel has found a fault and stopped all writes. Newer kernels do not report
/// that as read-only.
fn is_given_up(file: &fs::Metadata) -> bool {
    let device = file.dev();
    let device = format!("{}:{}", major(device), minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| is_given_up_mount(line, &device))
}

/// A line such as `65 44 7:0 / /data rw,relatime - ext4 /dev/loop0 rw,emergency_ro`.
fn is_given_up_mount(line: &str, device: &str) -> bool {
    let is_it = line.split(' ').nth(2) == Some(device);
    let options = line.rsplit(' ').next().unwrap_or_default();
    let mut options = options.split(',');
    is_it && options.any(|option| matches!(option, "ro" | "emergency_ro" | "shutdown"))
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
        assert_eq!((small.free_bytes, small.reserve_file_bytes), (2 * MIB, MIB));
        let large = Reserve::of(&room(100_000, 10), 64 * MIB);
        assert_eq!(
            (large.free_bytes, large.reserve_file_bytes),
            (64 * MIB, 8 * MIB)
        );
        assert_eq!((small.free_files, large.free_files), (64, 64));
    }

    #[test]
    fn space_of_a_released_reserve_file_does_not_count_as_free() {
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
        assert!(!reserve.fits_reserve_file(&room(16, 5)));
        assert!(reserve.fits_reserve_file(&room(16, 6)));
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
    fn a_file_system_that_the_kernel_has_given_up_is_read_only() {
        let line =
            "65 44 7:0 / /data rw,relatime - ext4 /dev/loop0 rw,errors=remount-ro,emergency_ro";
        assert!(is_given_up_mount(line, "7:0"));
        assert!(!is_given_up_mount(line, "7:1"));
        let good = "65 44 7:0 / /data rw,relatime - ext4 /dev/loop0 rw,errors=remount-ro";
        assert!(!is_given_up_mount(good, "7:0"));
    }

    #[test]
    fn without_a_minimum_nothing_is_refused_early() {
        let reserve = Reserve::of(&room(16, 0), 0);
        assert!(!reserve.is_short(&room(16, 0), false, true));
    }
}
