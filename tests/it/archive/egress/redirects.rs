//! Hosts that redirect: at most three times, and each time to where we would go by ourselves.

use super::{GOOD_PORT, HOSTS, Lab, is_inside, times};
use crate::support::machine::addresses::BAD;
use crate::support::machine::dns::at;

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

fn redirect(status: u16, to: &str) -> String {
    format!("https://files.evolink.ai/redirect?{status}+{to}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_leads_nowhere_else() {
    if !is_inside("redirects::a_redirect_leads_nowhere_else") {
        return;
    }
    let lab = Lab::with(HOSTS).await;
    for (n, bad) in BAD.iter().enumerate() {
        lab.dns.say(&format!("bad{n}.evolink.ai"), &[at(&[bad])]);
    }
    let names = (0..BAD.len()).map(|n| format!("https://bad{n}.evolink.ai/page"));
    let literals = [
        "https://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254/",
        "https://127.0.0.1/page",
        "http://127.0.0.1:8000/v1/tasks",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://[::ffff:a00:1]/",
        "https://[64:ff9b::a00:1]/",
        "//10.0.0.1/page",
        "//localhost/page",
        "https:///10.0.0.1/page",
        "%5C%5C10.0.0.1/page",
        "/%5C10.0.0.1/page",
        "https://8.8.8.8/page",
        "http://files.evolink.ai/page",
        "https://files.evolink.ai:8000/page",
        "https://files.evolink.ai:80/page",
        "https://me@files.evolink.ai/page",
        "https://files.evolink.ai@10.0.0.1/page",
        "https://elsewhere.example/page",
        "https://evolink.ai/page",
        "file:///etc/passwd",
        "data:image/png;base64,iVBORw0KGgo=",
        "ftp://files.evolink.ai/page",
        "javascript:alert(1)",
    ];
    let targets: Vec<String> = names.chain(literals.map(str::to_owned)).collect();
    for status in STATUSES {
        let urls: Vec<String> = targets.iter().map(|to| redirect(status, to)).collect();
        let shown = lab.assert_given_up(&urls).await;
        let called = lab.traps.called().await;
        // A refused address may be a passing fault of the DNS, so there are two more attempts.
        let is_of_address = |result: &&serde_json::Value| {
            let error = result["error"].as_str().unwrap();
            error.contains("is not fetched: it is at ")
        };
        let again = 2 * shown.iter().filter(is_of_address).count();
        let count = u32::try_from(shown.len() + again).unwrap();
        assert_eq!(called, times(count), "{status}");
    }
    // Behind a good redirect too.
    let hidden: Vec<String> = targets
        .iter()
        .map(|to| redirect(302, &format!("/redirect?302+{to}")))
        .collect();
    lab.assert_given_up(&hidden).await;
    let called = lab.traps.called().await;
    assert!(
        called.iter().all(|(address, _)| address == GOOD_PORT),
        "{called:?}"
    );
    lab.assert_discreet();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_redirects_are_followed_and_no_fourth() {
    if !is_inside("redirects::three_redirects_are_followed_and_no_fourth") {
        return;
    }
    let lab = Lab::with(HOSTS).await;
    for status in STATUSES {
        for to in ["/page", "page", "/./page", "https://cdn.evolink.ai/page"] {
            let called = lab.assert_archived(&redirect(status, to)).await;
            assert_eq!(called, times(2), "{status} {to}");
        }
    }
    let hops = |count: u32| {
        let path = (0..count).fold("/page".to_owned(), |to, _| format!("/redirect?302+{to}"));
        format!("https://files.evolink.ai{path}")
    };
    assert_eq!(lab.assert_archived(&hops(3)).await, times(4));
    let many = [
        hops(4),
        hops(20),
        "https://files.evolink.ai/loop".to_owned(),
    ];
    for url in many {
        let shown = lab.assert_given_up(std::slice::from_ref(&url)).await;
        assert_eq!(shown[0]["error"], "the server redirects more than 3 times");
        assert_eq!(lab.traps.called().await, times(4), "{url}");
    }
    lab.assert_discreet();
}
