//! Findings about files that the service will make, and the folders that they go to.

use std::path::Path;

use rustix::fs::{Access, FsWord, access, statfs};

use super::found;
use crate::app::data_folders::nearest_folder;
use crate::config::{Finding, Level};
use crate::secret_file::shown_path;

/// The key that the store is configured with.
pub(super) const STORE: &str = "store.url";

/// Reports a file that does not exist. That is no error if the start can create it.
pub(super) fn will_be_made(key: &str, file: &Path) -> Finding {
    let folder = nearest_folder(file);
    match access(&folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if is_of_kernel(&folder) => {
            let reason = "in a file system of the kernel's, where no file can be made";
            not_made(key, file, &folder, reason)
        }
        Ok(()) if folder.is_dir() => {
            Finding::ok(key, format!("{}: will be made", shown_path(file)))
        }
        Ok(()) => not_made(key, file, &folder, "not a folder"),
        Err(error) => not_made(key, file, &folder, &error.to_string()),
    }
}

/// File systems in which the system lets root create files according to the permissions, but never
/// in fact: proc, sysfs, both versions of cgroup, debugfs, tracefs, securityfs.
const KERNEL_FILE_SYSTEMS: [FsWord; 7] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
];

fn is_of_kernel(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| KERNEL_FILE_SYSTEMS.contains(&found.f_type))
}

pub(super) fn not_made(key: &str, file: &Path, folder: &Path, reason: &str) -> Finding {
    let message = format!(
        "{}: absent, and cannot be made: {}: {reason}",
        shown_path(file),
        folder.display()
    );
    found(Level::Error, key, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_where_a_folder_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str| will_be_made("key", &folder.path().join(name)).level;
        assert_eq!(made("file"), Level::Ok);
        assert_eq!(made("new/folder/file"), Level::Ok);
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(made("file/below/file"), Level::Error);
        let in_proc = will_be_made("key", Path::new("/proc/x/receiver.db"));
        assert_eq!(in_proc.level, Level::Error);
        assert_eq!(will_be_made("key", Path::new("here")).level, Level::Ok);
    }
}
