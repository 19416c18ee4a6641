//! What a story needs of the machine: root, a tool. Where it is missing the story says so in one line and is skipped; where
//! `CI=true` that is a failure, because there everything must have run.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether the tools (commands, or files by their absolute path) are here, and root if wanted. If not, says so.
pub fn are_met(root: Root, tools: &[&str]) -> bool {
    let missing = missing(root, tools);
    if let Some(missing) = &missing {
        skip(missing);
    }
    missing.is_none()
}

/// For what turns out later to be impossible here.
pub fn skip(reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "cannot be skipped where CI=true: {reason}"
    );
    println!("skipped: {reason}");
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
