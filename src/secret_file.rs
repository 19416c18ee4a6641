//! Files of secrets: those that the first start makes, and how the path of any of them is shown.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Puts `text` into a new file at `path` that nobody else may read; one that is there by then is left alone. Written beside
/// its place and linked into it, so that the file is there whole or not at all, and a second process that starts at the
/// same time does not replace the secret of the first.
pub fn make(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut draft = path.as_os_str().to_owned();
    // No process id: in containers that share a volume it is often the same.
    draft.push(format!(".{:016x}.draft", fastrand::u64(..)));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    fs::remove_file(&draft)?;
    linked?;
    File::open(folder)?.sync_all()
}

/// The path of a secret's file for a log line or an error. A value that looks like the secret
/// itself, set where its path belongs, is not shown.
pub fn shown_path(path: &Path) -> String {
    let text = path.display().to_string();
    let is_secret = ["sk-", "whsec_"]
        .iter()
        .any(|start| text.starts_with(start))
        || text.contains("-----BEGIN")
        || text.chars().any(char::is_control);
    if is_secret {
        "(a value that looks like the secret itself and not like the path of its file)".to_owned()
    } else {
        text
    }
}
