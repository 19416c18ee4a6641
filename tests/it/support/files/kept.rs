//! Checks that must hold for an archive in a folder, whatever happened to the receiver before.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use evolink_receiver::archive::Digest;
use evolink_receiver::archive::storage::MARKER;

use crate::support::store::TestStore;
use crate::support::store::check;

/// A row that says that its file is archived.
#[derive(Clone, Debug)]
pub struct Row {
    pub url: String,
    pub sha256: String,
    pub bytes: i64,
}

/// The rows that say that their files are archived. Looks at a copy of a SQLite store.
pub async fn rows(store: &TestStore) -> Vec<Row> {
    let sql = "SELECT url, sha256, bytes FROM result WHERE state = 'archived' ORDER BY id";
    let (database, _folder) = check::open(store).await.unwrap();
    let rows = database.rows::<(String, String, i64)>(sql, &[]).await;
    database.close().await;
    let rows = rows.into_iter();
    rows.map(|(url, sha256, bytes)| Row { url, sha256, bytes })
        .collect()
}

/// Reads the file of each row. Returns what is wrong; empty if each is there, whole, and one that
/// its host gave.
pub fn faults(rows: &[Row], folder: &Path, is_given: impl Fn(&Row) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for row in rows {
        let path = folder.join(&row.sha256[..2]).join(&row.sha256[2..]);
        match std::fs::read(&path) {
            Err(error) => faults.push(format!("{row:?}: {error}")),
            Ok(bytes) => {
                let is_whole = i64::try_from(bytes.len()) == Ok(row.bytes)
                    && Digest::of(&bytes).to_string() == row.sha256;
                if !is_whole {
                    faults.push(format!("{row:?}: {} other bytes", bytes.len()));
                }
            }
        }
        if !is_given(row) {
            faults.push(format!("{row:?}: its host never gave this"));
        }
    }
    faults
}

/// The drafts in the archive.
pub fn drafts(folder: &Path) -> Vec<PathBuf> {
    files(&folder.join("tmp"))
}

/// The copies that no row has.
pub fn orphans(rows: &[Row], folder: &Path) -> Vec<PathBuf> {
    let needed: HashSet<PathBuf> = rows
        .iter()
        .map(|row| folder.join(&row.sha256[..2]).join(&row.sha256[2..]))
        .collect();
    let mut found = files(folder);
    let (drafts, marker) = (folder.join("tmp"), folder.join(MARKER));
    found.retain(|path| !needed.contains(path) && !path.starts_with(&drafts) && *path != marker);
    found
}

/// Makes all files in the archive three hours old, so that the next sweep looks at them.
pub fn age(folder: &Path) {
    let files = files(folder);
    for files in files.chunks(500) {
        let mut touch = Command::new("touch");
        let touched = touch.args(["-d", "3 hours ago"]).args(files).status();
        assert!(touched.unwrap().success());
    }
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
