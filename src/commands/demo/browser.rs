//! Opens the dashboard in the browser of the person who runs the demo.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, stdout};
use std::process::{Command, Stdio};

/// Opens `url` if a person looks at this terminal and has a graphical session. Without one, the
/// opener would start a browser of text in this terminal. If it fails, the address is on the screen.
pub fn open(url: &str) {
    let has_session =
        |name: &str| std::env::var_os(name).is_some_and(|value| value != OsStr::new(""));
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else if has_session("DISPLAY") || has_session("WAYLAND_DISPLAY") {
        "xdg-open"
    } else {
        return;
    };
    if !stdout().is_terminal() {
        return;
    }
    let mut command = Command::new(opener);
    command.arg(url).stdin(Stdio::null());
    // Nobody waits for it: it may live as long as the browser.
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}
