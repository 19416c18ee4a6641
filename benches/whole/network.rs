//! A network of the bench's own, where the system lets it have one.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where this may be had, nothing of the outside reaches a program under test, and no port is taken.
pub fn can_be_own() -> bool {
    let mut unshare = Command::new("unshare");
    let tried = unshare.args(["--net", "ip", "link", "set", "lo", "up"]);
    tried.output().is_ok_and(|output| output.status.success())
}

/// Goes on there as the same process.
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
