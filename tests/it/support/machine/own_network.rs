//! A private network namespace. A test that needs one runs itself again inside it. It disappears
//! with the process.

use std::process::Command;

use super::needs::{self, Root};

/// Set in the process that runs inside.
const INSIDE: &str = "EVOLINK_RECEIVER_TEST_IN_OWN_NETWORK";

/// Whether this process is the one inside. If not, runs the test of this name inside, with `env`,
/// to its end. Mounts made inside are visible only there.
pub fn is_inside(name: &str, env: &[(&str, &str)]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let mut again = Command::new("unshare");
    again.args(["--net", "--mount", "--propagation=private", "--"]);
    again.args(["setpriv", "--pdeathsig=KILL", "--"]);
    again.arg(this).args([name, "--exact", "--nocapture"]);
    let env = env.iter().copied().chain([(INSIDE, "1")]);
    let ended = again.envs(env).status().unwrap();
    assert!(ended.success(), "inside: {ended}");
    false
}

/// Like `is_inside`, for a lab in which DNS lies. False too, after saying so, where this machine
/// does not support that.
pub fn is_inside_lab(name: &str, env: &[(&str, &str)]) -> bool {
    let tools = ["mount"].into_iter().chain(TOOLS);
    if !needs::are_met(Root::Needed, &tools.collect::<Vec<_>>()) {
        return false;
    }
    // No proxy may connect for us.
    let proxy = "http://10.0.0.99:80";
    let proxies = [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ];
    let proxies = proxies.map(|name| (name, proxy)).into_iter();
    let env = proxies.chain(env.iter().copied());
    is_inside(name, &env.collect::<Vec<_>>())
}

/// The commands that `is_inside` needs.
pub const TOOLS: [&str; 3] = ["ip", "unshare", "setpriv"];

pub fn run(program: &str, arguments: &[&str]) {
    let ended = Command::new(program).args(arguments).status().unwrap();
    assert!(ended.success(), "{program} {arguments:?}: {ended}");
}
