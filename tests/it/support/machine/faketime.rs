//! A process whose system clock a test can set, by libfaketime.

use std::path::{Path, PathBuf};

use super::needs::{Root, are_met};

/// Returns the path of the library. `None` where it is missing, after saying so.
pub fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let library = libraries.find(|library| library.exists());
    let library = library.unwrap_or_else(|| "/usr/lib/faketime/libfaketimeMT.so.1".into());
    are_met(Root::NotNeeded, &[library.to_str().unwrap()]).then_some(library)
}

/// The words that launch a program so that its system clock is ahead by what `file` says, such as
/// `-1h`. Its monotonic clock stays the true one.
pub fn launcher(library: &Path, file: &Path) -> [String; 8] {
    [
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DISABLE_SHM=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
        "NO_FAKE_STAT=1".to_owned(),
    ]
}

/// Sets the clock in one step: a reader of the file finds either the old text or the new one.
pub fn set(file: &Path, offset: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{offset}\n")).unwrap();
    std::fs::rename(&next, file).unwrap();
}

/// The true time, which no test changes.
#[expect(
    clippy::disallowed_methods,
    reason = "the true time, as the simulator has it"
)]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
