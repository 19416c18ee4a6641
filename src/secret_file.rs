//! Files of secrets: creates those that the first start needs, and formats their paths for
//! messages.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes `text` into a new file at `path` that no other user may read. An existing file is left
/// alone. The text is first written to a draft in the same folder, which is then hard-linked to
/// `path`. So the file is either complete or absent, and a second process that starts at the same
/// time does not replace the secret of the first.
pub fn make(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut draft = path.as_os_str().to_owned();
    // Do not use the process id: it is often the same in containers that share a volume.
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

/// Formats the path of a secret file for a log line or an error. If the value looks like a secret
/// that was configured instead of its path, it is not shown.
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
