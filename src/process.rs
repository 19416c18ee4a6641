//! Resource limits of this process: file descriptors, and no core dumps.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are not connections: the store, certificates, the log, calls to EvoLink.
const DESCRIPTORS_RESERVED: u64 = 64;

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
