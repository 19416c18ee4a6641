//! Result URLs that are no address of a file of EvoLink's: other schemes, other hosts, and texts
//! that two programs could read in two ways.

use super::{HOSTS, Lab, is_inside, once};
use crate::support::machine::addresses;

const OTHERS: &[&str] = &[
    "javascript:alert(1)",
    "data:image/svg+xml,<svg/>",
    "data:image/png;base64,iVBORw0KGgo=",
    "file:///etc/passwd",
    "file://files.evolink.ai/page",
    "ftp://files.evolink.ai/page",
    "blob:https://files.evolink.ai/page",
    "gopher://127.0.0.1:80/x",
    "s3://bucket/page",
    "http://files.evolink.ai/page",
    "http://files.evolink.ai:443/page",
    "https://files.evolink.ai:80/page",
    "https://files.evolink.ai:8000/page",
    "https://files.evolink.ai:0/page",
    "https://files.evolink.ai:99999/page",
    "https://localhost/",
    "https://evolink.ai/page",
    "https://elsewhere.example/page",
    "https://files.evolink.ai.evil.example/",
    "https://evilevolink.ai/",
    "https://evil.example#@files.evolink.ai/",
    "https://evil.example?@files.evolink.ai/",
    "https://files.evolink.ai@evil.example/",
    "https://user:pw@files.evolink.ai/",
    "https://@files.evolink.ai/page",
    "https://files.evolink.ai\\@10.0.0.1/",
    "https://files.evolink.ai%2e10.0.0.1/page",
    "https://10.0.0.1%23.evolink.ai/page",
    "https://10.0.0.1\0.evolink.ai/page",
    "//files.evolink.ai/page",
    "/rel",
    "page",
    "https:files.evolink.ai/page",
    "https:/files.evolink.ai/page",
    "https:///files.evolink.ai/page",
    "https://",
    "https:// files.evolink.ai/page",
    " https://files.evolink.ai/page",
    "https://files.evolink.ai/page ",
    "https://files.evolink.ai/pa\tge",
    "https://files.evolink.ai/pa\nge",
    "https://files.evolink.ai/page\r\nx-y: z",
    "https://files.evolink.ai/page\u{0}",
    "https://files.evolink.ai/page\u{2028}",
    "https\t://files.evolink.ai/page",
    "\u{feff}https://files.evolink.ai/page",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_file_of_evolinks_hosts_is_fetched() {
    if !is_inside("table::only_a_file_of_evolinks_hosts_is_fetched") {
        return;
    }
    let lab = Lab::with(HOSTS).await;
    let mut urls: Vec<String> = OTHERS.iter().map(ToString::to_string).collect();
    urls.push(format!("https://files.evolink.ai/{}", "x".repeat(5000)));
    lab.assert_given_up(&urls).await;
    assert_eq!(lab.traps.called().await, []);
    for good in [
        "https://files.evolink.ai/page?signature=canary",
        "HTTPS://Files.EvoLink.AI:443/page?signature=canary#fragment",
        "https://files.evolink.ai/page?url=http://10.0.0.1/&canary=@",
    ] {
        assert_eq!(lab.assert_archived(good).await, once(), "{good}");
    }
    // A URL that has expired makes us ask EvoLink, whom alone we show the key.
    let gone = ["https://files.evolink.ai/gone?canary".to_owned()];
    let asked = |result: &serde_json::Value| result["error"].is_string();
    lab.results(&gone, asked).await;
    let heads = lab.traps.heads();
    let keys = heads.iter().filter(|head| head.contains("not-a-key"));
    assert!(
        keys.clone().count() > 0 && keys.clone().all(|head| head.contains("host: 127.0.0.1")),
        "{heads:?}"
    );
    assert!(!lab.receiver.log().contains("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_allowed_hosts_nothing_is_fetched() {
    if !is_inside("table::without_allowed_hosts_nothing_is_fetched") {
        return;
    }
    let lab = Lab::with("allowed_hosts = []\nallow_networks = [\"10.7.0.0/16\"]").await;
    let mut urls: Vec<String> = OTHERS.iter().map(ToString::to_string).collect();
    urls.push("https://files.evolink.ai/page".to_owned());
    urls.extend(
        addresses::HOSTS
            .iter()
            .map(|host| format!("https://{host}/")),
    );
    lab.assert_given_up(&urls).await;
    assert_eq!(lab.traps.called().await, []);
    let good = "http://10.7.1.1/page";
    let called = [("10.7.1.1:80".to_owned(), 1)];
    assert_eq!(lab.assert_archived(good).await, called);
}
