//! Writes files so that after a crash each one is complete: either the new one, or the one that was
//! there before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Only our own user may read the file. Most contain prompts or secrets.
pub const PRIVATE: u32 = 0o600;

/// Returns the path of a file beside `path`; `suffix` is appended to its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a file, or a symlink but not its target. Returns whether the path existed.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates an empty file, in place of one that a killed process may have left.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    remove(path)?;
    // `create_new`, so that a file or symlink created meanwhile is neither followed nor
    // overwritten, and because the mode applies to a new file only.
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(path)
}

/// Writes a new private file and syncs it, but not its folder.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create(path, PRIVATE)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Replaces the file at `path` by a new one that `fill` writes. Until it is complete, its name is
/// `….new`.
pub fn replace(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = beside(path, ".new");
    let filled = create(&unfinished, mode).and_then(|mut file| {
        fill(&mut file)?;
        file.sync_all()
    });
    let renamed = filled.and_then(|()| fs::rename(&unfinished, path));
    if renamed.is_err() {
        // An incomplete file only wastes space. The first error counts.
        let _ = remove(&unfinished);
    }
    renamed?;
    sync_folder(&folder_of(path))
}

/// Writes a private file unless there is one at `path`. A second process that starts at the same
/// time does not replace the file of the first, because a hard link never replaces a file.
pub fn write_once(path: &Path, content: &[u8]) -> io::Result<()> {
    // Do not use the process id: it is often the same in containers that share a volume.
    let draft = beside(path, &format!(".{:016x}.draft", fastrand::u64(..)));
    let linked = write(&draft, content).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // The draft is removed after a failure too: the disk may be full. The first error counts.
    let removed = remove(&draft);
    linked?;
    removed?;
    sync_folder(&folder_of(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for text in ["first", "second"] {
            // A link that was put there must not be followed.
            symlink(&path, beside(&path, ".new")).unwrap();
            replace(&path, 0o640, |file| file.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0);
        let failed = replace(&path, PRIVATE, |file| {
            file.write_all(b"half")?;
            Err(ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_file_that_is_written_once_keeps_its_first_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_once(&path, b"first").unwrap();
        write_once(&path, b"second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(names(folder.path()), ["file"]);
    }
}
