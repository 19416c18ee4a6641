//! The rights that a SQLite store needs. The start and `check` both look at them before anything is
//! opened, so that the error names the file and the right, which SQLite's own errors do not.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::files::{beside, folder_of};
use crate::process;
use crate::store::StoreError;

/// The files of a store: their suffixes, and whether they are written. The mark is replaced by
/// another file, which is in the way if it cannot be removed.
const FILES: [(&str, Access); 7] = [
    ("", READ_WRITE),
    ("-wal", READ_WRITE),
    ("-shm", READ_WRITE),
    ("-journal", READ_WRITE),
    (".lock", READ_WRITE),
    (".mark", Access::READ_OK),
    (".mark.new", Access::EXISTS),
];

const READ_WRITE: Access = Access::READ_OK.union(Access::WRITE_OK);

/// Checks that this process may use the files of `database` that exist, and may make others beside
/// them. Changes nothing.
///
/// # Errors
/// `Unsuitable` with the path, the right that lacks, and what to do.
pub fn check_access(database: &Path) -> Result<(), StoreError> {
    let folder = folder_of(database);
    if let Some(reason) = process::why_denied(&folder) {
        return Err(unsuitable(&folder, reason));
    }
    let of_file = |(suffix, wanted)| {
        let file = beside(database, suffix);
        why_unusable(&file, wanted).map_or(Ok(()), |reason| Err(unsuitable(&file, reason)))
    };
    FILES.into_iter().try_for_each(of_file)
}

fn unsuitable(path: &Path, reason: String) -> StoreError {
    StoreError::Unsuitable {
        path: path.display().to_string(),
        reason,
    }
}

/// Returns `None` if the file does not exist, or if its rights are not the problem.
fn why_unusable(file: &Path, wanted: Access) -> Option<String> {
    let found = fs::metadata(file).ok()?;
    let path = file.display();
    if found.is_dir() {
        let reason = "it is a folder, and must be a file: move it away, or correct store.url";
        return Some(reason.to_owned());
    }
    match access(file, wanted) {
        Err(Errno::ACCESS) => {}
        Err(Errno::PERM) => {
            return Some(format!(
                "it may not be written, even by its owner: chattr -i {path}"
            ));
        }
        _ => return None,
    }
    let (us, mode) = (geteuid().as_raw(), found.mode() & 0o7777);
    let (right, letters) = if wanted.contains(Access::WRITE_OK) {
        ("read and write", "rw")
    } else {
        ("read", "r")
    };
    let advice = if found.uid() == us {
        format!("chmod u+{letters} {path}")
    } else {
        format!("chown {us}:{} {path}", getegid().as_raw())
    };
    Some(format!(
        "Permission denied: this process is user {us}, and must {right} the file, which belongs to {}:{} (mode {mode:03o}): \
         {advice}",
        found.uid(),
        found.gid(),
    ))
}
