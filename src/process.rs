//! What the system lets this process do: file descriptors, core dumps, and the rights of its user.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getegid, geteuid, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are not connections: the store, certificates, the log, calls to EvoLink.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Variables of libraries that do not take an empty one as absent, as everything else here does.
const FOREIGN: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Replaces this process by itself without the variables of `FOREIGN` that are set to nothing.
/// Returns if there are none. No safe code can remove a variable from its own process.
pub fn without_empty_variables() {
    let is_empty = |name: &&str| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let empty: Vec<&str> = FOREIGN.into_iter().filter(is_empty).collect();
    if empty.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments);
    for name in empty {
        again.env_remove(name);
    }
    // If this fails, the library reports the variable where it matters.
    let _ = again.exec();
}

/// Disables core dumps, because they would contain keys and prompts.
pub fn forbid_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn!(%error, "core dumps could not be turned off");
    }
}

/// Raises the limit on file descriptors as far as allowed. Returns how many connections it suffices
/// for, at most `wanted`.
pub fn connections_granted(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let room = granted.map_or(u64::MAX, |granted| {
        granted.saturating_sub(DESCRIPTORS_RESERVED).max(1)
    });
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room < wanted {
        warn!(
            wanted,
            granted = room,
            "fewer connections than configured: the limit of open files is too low"
        );
    }
    room.min(wanted)
}

/// Returns why this process may not make files in `folder` and what to do about it. `None` if it
/// may, or if its user is not the cause.
pub fn why_denied(folder: &Path) -> Option<String> {
    if access(folder, Access::WRITE_OK | Access::EXEC_OK) != Err(Errno::ACCESS) {
        return None;
    }
    let found = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
    let (owner, group, mode) = (found.uid(), found.gid(), found.mode() & 0o7777);
    let us = format!("{}:{}", geteuid().as_raw(), getegid().as_raw());
    let folder = folder.display();
    let advice = if owner == geteuid().as_raw() {
        format!("chmod u+wx {folder}")
    } else {
        format!("chown {us} {folder}")
    };
    Some(format!(
        "Permission denied: this process is user {us}, and {folder} belongs to {owner}:{group} (mode {mode:03o}): {advice}"
    ))
}
