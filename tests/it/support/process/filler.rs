//! Files that fill a disk.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Bytes by which a filler file grows in one step.
const STEP_BYTES: usize = 64 * 1024;

/// Writes until the disk is full, filling the last bytes one page at a time.
pub fn fill(path: &Path) {
    let mut filler = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for size in [STEP_BYTES, 4096, 1] {
        while filler.write_all(&vec![0x5a; size]).is_ok() {}
        // Because of delayed allocation, a sync may find more space or less.
        let _ = filler.sync_all();
    }
}

/// Writes until `is_enough` returns true. The disk must have the space.
pub fn fill_until(path: &Path, is_enough: impl Fn() -> bool) {
    let mut filler = File::create(path).unwrap();
    while !is_enough() {
        filler.write_all(&vec![0x5a; STEP_BYTES]).unwrap();
        filler.sync_all().unwrap();
    }
}
