//! Files of secrets: reads them, creates those that the first start needs, and formats their paths
//! for messages.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use secrecy::SecretString;

use crate::files;

/// The limit on a secret file. A path to a log or a device is refused, rather than read whole.
const BYTES_MAX: u64 = 64 * 1024;

/// Reads a secret. Removes one newline at the end, which editors add.
///
/// # Errors
/// Unreadable, too long, not UTF-8, or empty. Names the file, never the content.
pub fn read(path: &Path) -> io::Result<SecretString> {
    let refuse = |why: &dyn std::fmt::Display| {
        io::Error::other(format!("could not read {}: {why}", shown_path(path)))
    };
    let mut text = String::new();
    let file = open(path).map_err(|error| refuse(&error))?;
    file.take(BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| refuse(&error))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(refuse(&"it is longer than 64 KiB"));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.trim().is_empty() {
        return Err(io::Error::other(format!("{} is empty", path.display())));
    }
    Ok(secret.into())
}

/// Returns what is most likely wrong with the text of a secret, or with a line of a file of them:
/// what the tools that fill such files leave behind. Lines that begin with `#` are comments.
pub fn oddity(text: &str) -> Option<&'static str> {
    if text.contains('\u{feff}') {
        return Some("has a byte order mark (U+FEFF): save it as UTF-8 without one");
    }
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.find_map(oddity_of_line)
}

fn oddity_of_line(line: &str) -> Option<&'static str> {
    let value = line.trim();
    let is_quoted = |quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    if is_quoted('"') || is_quoted('\'') {
        Some("is in quotes, which would be a part of the secret: remove them")
    } else if is_assignment(value) {
        Some("looks like NAME=value: only the value belongs there")
    } else if value.contains("${") || value.contains("$(") {
        Some("has a placeholder, ${…} or $(…), that nothing has replaced")
    } else if value.contains('\r') {
        Some("has a carriage return inside: end its lines with a line feed")
    } else {
        None
    }
}

/// Whether `text` begins as a line of a shell or an environment file. Base64 may end with `=`.
fn is_assignment(text: &str) -> bool {
    let text = text.strip_prefix("export ").unwrap_or(text);
    let Some((name, value)) = text.split_once('=') else {
        return false;
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(is_name)
        && !value.trim_matches('=').is_empty()
}

/// Opens a regular file. Others are refused at once: the open of a FIFO would wait for its writer.
///
/// # Errors
/// Unreadable, or not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Writes `text` into a new file at `path` that no other user may read, and creates its folder. An
/// existing file is left alone.
pub fn make(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(files::folder_of(path))?;
    files::write_once(path, text.as_bytes())
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

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_tools_leave_in_a_secret_is_named_and_secrets_are_not() {
        for (text, says) in [
            ("\u{feff}sk-abc", "byte order mark"),
            ("\"sk-abc\"", "in quotes"),
            ("'sk-abc'", "in quotes"),
            (" \"sk-abc\" ", "in quotes"),
            ("EVOLINK_API_KEY=sk-abc", "NAME=value"),
            ("export key=sk-abc", "NAME=value"),
            ("${EVOLINK_API_KEY}", "placeholder"),
            ("$(cat key)", "placeholder"),
            ("sk-a\rbc", "carriage return"),
            ("# two\nwhsec_ok\n'whsec_x'", "in quotes"),
        ] {
            let oddity = oddity(text).unwrap_or_default();
            assert!(oddity.contains(says), "{text:?}: {oddity}");
        }
        for text in [
            "sk-abc",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw=",
            "whsec_Mf+Q9r8GKYqrTwjUPD8ILPZIo2La/aSw==",
            "ABCDEF==",
            "# key=\"value\"\nwhsec_ok",
            "k1 5ec7e7\r\nk2 5ec7e7",
            "pa'ss\"word",
            "\"",
        ] {
            assert_eq!(oddity(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        for path in [&fifo, folder.path(), Path::new("/dev/zero")] {
            let (answer, answered) = mpsc::channel();
            let owned = path.to_owned();
            thread::spawn(move || answer.send(read(&owned).err().map(|error| error.to_string())));
            let refused = answered.recv_timeout(Duration::from_secs(10));
            let refused = refused.expect("it does not wait for a writer").unwrap();
            let path = path.display();
            let expected = format!("could not read {path}: it is not a regular file");
            assert_eq!(refused, expected);
        }
    }
}
