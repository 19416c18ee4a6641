//! Checks the free space of a SQLite store, and whether others may read its file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::statfs;

use super::files::STORE;
use super::found;
use crate::app::data_folders::nearest_folder;
use crate::config::{Finding, Level, StoreConfig};
use crate::store::read::inspect::RoomFound;

const KEY: &str = "store.min_free";

const MIB: u64 = 1024 * 1024;

/// A page of memory.
const PAGE_BYTES: u64 = 4096;

/// Reports on the disk that holds `file`. The file need not exist yet.
pub fn free_space(store: &StoreConfig, file: &Path) -> Vec<Finding> {
    let folder = nearest_folder(file);
    let place = folder.display();
    let mut findings = Vec::new();
    match RoomFound::of(file, &folder, store.min_free.as_u64()) {
        Ok(room) if room.is_short => {
            let (free, wanted) = (room.free_bytes / MIB, room.wanted_bytes.div_ceil(MIB));
            let message = format!(
                "{place}: {free} MiB are free, {wanted} are needed: submits are refused, callbacks are recorded while there is space"
            );
            findings.push(found(Level::Warning, KEY, message));
        }
        Ok(room) => {
            let message = format!("{place}: {} MiB are free", room.free_bytes / MIB);
            findings.push(Finding::ok(KEY, message));
        }
        Err(error) => findings.push(found(Level::Warning, KEY, format!("{place}: {error}"))),
    }
    if let Ok(system) = statfs(&folder)
        && u64::try_from(system.f_bsize).is_ok_and(|bytes| bytes < PAGE_BYTES)
    {
        let bytes = system.f_bsize;
        let message = format!(
            "{place}: the file system has blocks of {bytes} bytes: when it is full, a write to SQLite's index in memory can end the service with SIGBUS; nothing acknowledged is lost; use blocks of 4096 bytes (mkfs.ext4 -b 4096)"
        );
        findings.push(warning(message));
    }
    let mode = fs::metadata(file).map_or(0, |file| file.permissions().mode());
    if mode & 0o077 != 0 {
        let (file, mode) = (file.display(), mode & 0o777);
        let message = format!("{file}: others may read it, prompts and all: mode {mode:03o}");
        findings.push(found(Level::Warning, STORE, message));
    }
    findings
}

fn warning(message: String) -> Finding {
    found(Level::Warning, KEY, message)
}
