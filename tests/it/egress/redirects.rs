//! Endpoints that redirect us: no redirect is followed.

use super::{egress, is_inside, own, standing};
use crate::support::machine::traps::Traps;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redirect_is_followed() {
    if !is_inside("redirects::no_redirect_is_followed") {
        return;
    }
    let traps = Traps::set().await;
    let egress = egress(&["8.8.8.8", "8.8.4.4"], &[]);
    for status in [300, 301, 302, 303, 307, 308] {
        for to in [
            "http://169.254.169.254/latest/meta-data/",
            "http://127.0.0.1:8000/v1/tasks",
            "http://2130706433/",
            "http://[::ffff:a00:1]/",
            "http://8.8.4.4/",
            "//10.0.0.1/",
            "/elsewhere",
        ] {
            let url = format!("http://8.8.8.8/redirect?{status}+{to}");
            for result in [own(&egress, &url).await, standing(&egress, &url).await] {
                assert_eq!(result, Ok(status), "{to}");
            }
            assert_eq!(traps.called().await, [("8.8.8.8:80".to_owned(), 2)], "{to}");
        }
    }
    let elsewhere = |head: &String| !head.starts_with("POST /redirect?");
    assert!(!traps.heads().iter().any(elsewhere));
}
