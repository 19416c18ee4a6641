//! Requirements of a test on the machine: root, or a tool. Where one is missing, the test prints
//! one line and is skipped. With `CI=true` that is a failure, because no test may be skipped there.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether the tools (commands, or files by their absolute path) exist, and root if needed. If not,
/// prints so.
pub fn are_met(root: Root, tools: &[&str]) -> bool {
    let missing = missing(root, tools);
    if let Some(missing) = &missing {
        skip(missing);
    }
    missing.is_none()
}

/// Skips a test whose impossibility is discovered only later.
pub fn skip(reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "cannot be skipped where CI=true: {reason}"
    );
    println!("skipped: {reason}");
}

/// The folder in which `./test` installs libraries, if it has.
pub fn tools() -> Option<String> {
    std::env::var("EVOLINK_RECEIVER_TEST_TOOLS").ok()
}

/// The Python that has these libraries, or the system's.
pub fn python() -> String {
    tools().map_or_else(
        || "python3".to_owned(),
        |tools| format!("{tools}/bin/python"),
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    Needed,
    NotNeeded,
}

fn missing(root: Root, tools: &[&str]) -> Option<String> {
    if root == Root::Needed && std::fs::metadata("/proc/self").map_or(0, |own| own.uid()) != 0 {
        return Some("needs root".to_owned());
    }
    let tool = tools.iter().find(|tool| !is_there(tool))?;
    Some(format!("needs {tool}"))
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    Path::new(tool).is_absolute() && Path::new(tool).exists()
        || folders.any(|folder| folder.join(tool).is_file())
}
