//! Addresses that are in the URL itself, in all their spellings.

use super::{HOSTS, Lab, is_inside, once};
use crate::support::machine::addresses::{self, NEVER};

fn urls(hosts: &[&str]) -> Vec<String> {
    let urls = hosts.iter().flat_map(|host| addresses::urls(host));
    let urls = urls.map(|url| format!("{url}?canary-query"));
    urls.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_is_called_in_whatever_spelling() {
    if !is_inside("literals::no_address_is_called_in_whatever_spelling") {
        return;
    }
    let lab = Lab::with(HOSTS).await;
    lab.assert_given_up(&urls(addresses::HOSTS)).await;
    // A public address is no host of EvoLink's either.
    lab.assert_given_up(&urls(&["8.8.8.8", "[2606:4700::1]", "134744072"]))
        .await;
    assert_eq!(lab.traps.called().await, []);
    let good = "https://files.evolink.ai/page?canary-query";
    assert_eq!(lab.assert_archived(good).await, once());
    lab.assert_discreet();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_a_listed_network_is_called_and_metadata_never() {
    if !is_inside("literals::an_address_in_a_listed_network_is_called_and_metadata_never") {
        return;
    }
    let settings = r#"allowed_hosts = ["*.evolink.ai"]
allow_networks = ["169.254.0.0/16", "100.64.0.0/10", "168.63.129.16/32", "10.7.0.0/16",
    "fe80::/10", "fd00::/8", "::/128", "0.0.0.0/8", "::1/128"]"#;
    let lab = Lab::with(settings).await;
    lab.assert_given_up(&urls(NEVER)).await;
    lab.assert_given_up(&urls(&["10.8.0.1", "127.0.0.1", "172.16.0.1"]))
        .await;
    assert_eq!(lab.traps.called().await, []);
    for (url, called) in [
        ("http://10.7.1.1/page", "10.7.1.1:80"),
        ("http://10.7.257:8000/page", "10.7.1.1:8000"),
        ("http://[::1]:8000/page", "[::1]:8000"),
        ("http://[::ffff:10.7.1.1]/page", "10.7.1.1:80"),
    ] {
        let expected = [(called.to_owned(), 1)];
        assert_eq!(lab.assert_archived(url).await, expected, "{url}");
    }
    lab.assert_discreet();
}
