//! What the operating system grants this process: descriptors, and no core dumps, which would hold secrets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are not connections: the store, certificates, the log, calls to EvoLink.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Turns core dumps off: they would hold keys and prompts.
pub fn forbid_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn!(%error, "core dumps could not be turned off");
    }
}

/// Asks for as many descriptors as we may have, and says how many connections they are enough for, at most `wanted`.
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
