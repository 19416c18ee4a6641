//! Sets `EVOLINK_RECEIVER_COMMIT` to the commit that the program is built from, for `--version`.
//!
//! A build outside a clone (the container's) sets it as an environment variable. Without either, it
//! is "unknown".

use std::path::Path;
use std::process::Command;

const COMMIT: &str = "EVOLINK_RECEIVER_COMMIT";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={COMMIT}");
    // HEAD changes when another branch is checked out, and its log with every commit. A path that
    // does not exist would make Cargo run this script on every build.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) =
            git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists())
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = std::env::var(COMMIT)
        .ok()
        .filter(|commit| !commit.is_empty())
        .or_else(|| git(&["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env={COMMIT}={commit}");
}

/// Returns the one line that git prints, or nothing without git or a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
