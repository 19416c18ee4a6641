//! The PostgreSQL programs on this machine, and the user that may run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

/// The user that runs the server if the test is root, because the server refuses to run as root.
pub const USER: &str = "postgres";

/// Builds a command that runs as the server's user. It receives SIGQUIT when the thread that
/// started it ends.
pub fn as_user(launcher: &[String]) -> Command {
    let mut words = launcher.to_vec();
    words.extend(["setpriv".to_owned(), "--pdeathsig=QUIT".to_owned()]);
    if other_user().is_some() {
        let user = ["--reuid", USER, "--regid", USER, "--init-groups"];
        words.extend(user.map(str::to_owned));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg("--");
    command
}

/// The user and group to change to, if the test is root.
pub fn other_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users
        .lines()
        .find_map(|line| line.strip_prefix(USER)?.strip_prefix(':'))
        .expect("the server's package made its user");
    let mut fields = line.split(':').skip(1);
    let mut number = || fields.next()?.parse().ok();
    Some((number()?, number()?))
}

/// The folder of the newest server on this machine, or of the one in the path.
pub fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, path)| has_server(path))
        .max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&path).find(|path| has_server(path));
    newest.map(|(_, path)| path).or_else(in_path)
}

fn has_server(folder: &Path) -> bool {
    folder.join("postgres").is_file() && folder.join("initdb").is_file()
}
