//! Addresses that are in the URL itself, in all their spellings. No resolver ever sees them.

use super::{egress, is_inside, is_refused, own, standing};
use crate::support::machine::addresses::{HOSTS, NEVER, urls};
use crate::support::machine::traps::Traps;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_literal_is_called_that_is_not_listed_in_whatever_spelling() {
    if !is_inside("literals::no_literal_is_called_that_is_not_listed_in_whatever_spelling") {
        return;
    }
    let traps = Traps::set().await;
    let (nobody, others) = (
        egress(&[], &["0.0.0.0/0", "::/0"]),
        egress(
            &[
                "8.8.8.8",
                "*.io",
                "*.1",
                "*.0.0.1",
                "files.evolink.ai",
                "[2606:4700::2]",
            ],
            &["0.0.0.0/0", "::/0"],
        ),
    );
    for url in HOSTS.iter().flat_map(|host| urls(host)) {
        for egress in [&nobody, &others] {
            let result = own(egress, &url).await;
            assert!(is_refused(&result), "{url}: {result:?}");
        }
    }
    assert_eq!(traps.called().await, []);
    // URLs that two parsers could read as different addresses.
    for url in [
        "https://user:pw@8.8.8.8/",
        "https://8.8.8.8@10.0.0.1/",
        "https://10.0.0.1#@8.8.8.8/",
        "http://8.8.8.8\\@10.0.0.1/",
        "http://10.0.0.1\t@8.8.8.8/",
        "http:8.8.8.8/",
        "http:///8.8.8.8/",
        "//8.8.8.8/",
        "http://8.8.8.8 @10.0.0.1/",
        "ht\ntp://8.8.8.8/",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
    ] {
        let result = own(&others, url).await;
        assert!(is_refused(&result), "{url}: {result:?}");
    }
    assert_eq!(traps.called().await, []);
    // A listed address is called.
    assert_eq!(own(&others, "http://8.8.8.8/").await, Ok(204));
    assert_eq!(own(&others, "http://[2606:4700::2]:8000/").await, Ok(204));
    let called = [
        ("8.8.8.8:80".to_owned(), 1),
        ("[2606:4700::2]:8000".to_owned(), 1),
    ];
    assert_eq!(traps.called().await, called);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_literal_is_called_and_never_metadata_nor_ourselves() {
    if !is_inside("literals::a_listed_literal_is_called_and_never_metadata_nor_ourselves") {
        return;
    }
    let traps = Traps::set().await;
    for host in NEVER {
        let egress = egress(&[host], &["0.0.0.0/0", "::/0"]);
        for url in urls(host) {
            for result in [own(&egress, &url).await, standing(&egress, &url).await] {
                assert!(is_refused(&result), "{url}: {result:?}");
            }
        }
    }
    let egress = egress(
        &[
            "127.0.0.1",
            "localhost",
            "10.0.0.1",
            "198.18.0.1:80",
            "[fc00::1]",
        ],
        &[],
    );
    for ours in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("http://{ours}:8000/v1/tasks");
        for result in [own(&egress, &url).await, standing(&egress, &url).await] {
            assert!(is_refused(&result), "{url}: {result:?}");
        }
    }
    assert_eq!(traps.called().await, []);
    let mut expected = Vec::new();
    for (url, called) in [
        ("http://0xa.1/", "10.0.0.1:80"),
        ("http://127.1/", "127.0.0.1:80"),
        ("http://198.18.0.1/", "198.18.0.1:80"),
        ("http://[fc00::1]:8000/", "[fc00::1]:8000"),
    ] {
        assert_eq!(own(&egress, url).await, Ok(204), "{url}");
        expected.push((called.to_owned(), 1));
    }
    assert_eq!(traps.called().await, expected);
    // Addresses in the operator's configuration need no list.
    for (url, called) in [
        ("http://10.0.0.7:8000/", "10.0.0.7:8000"),
        ("http://127.0.0.9/", "127.0.0.9:80"),
        ("http://[::1]:8000/", "[::1]:8000"),
    ] {
        assert_eq!(standing(&egress, url).await, Ok(204), "{url}");
        assert_eq!(traps.called().await, [(called.to_owned(), 1)], "{url}");
    }
}
