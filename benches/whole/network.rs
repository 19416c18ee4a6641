//! A network namespace of the bench's own, where the system allows one.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Whether a network of our own is possible. In it, nothing from outside reaches a program under
/// test, and no port is taken.
pub fn can_be_own() -> bool {
    let mut unshare = Command::new("unshare");
    let tried = unshare.args(["--net", "ip", "link", "set", "lo", "up"]);
    tried.output().is_ok_and(|output| output.status.success())
}

/// Continues as the same process in a new network. Returns only if that fails.
pub fn run_in_own() -> anyhow::Error {
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--net",
        "sh",
        "-c",
        "ip link set lo up && exec \"$@\"",
        "sh",
    ]);
    unshare.args(std::env::args_os()).arg("--inside");
    unshare.exec().into()
}
