//! Names of EvoLink's own domain, and a DNS that lies about them.

use std::net::IpAddr;

use serde_json::Value;

use super::{GOOD, HOSTS, Lab, is_archived, is_inside, once, times};
use crate::support::machine::addresses::BAD;
use crate::support::machine::dns::{Answer, at};

/// Names that begin with `prefix`, one for each bad address. `answers` returns what DNS says about
/// it.
fn names(lab: &Lab, prefix: &str, answers: impl Fn(&str) -> Vec<Answer>) -> Vec<String> {
    let names = BAD.iter().enumerate().map(|(n, bad)| {
        let name = format!("{prefix}{n}.evolink.ai");
        lab.dns.say(&name, &answers(bad));
        name
    });
    names.collect()
}

fn urls(names: &[String], path: &str) -> Vec<String> {
    let urls = names
        .iter()
        .map(|name| format!("https://{name}/{path}?canary-query"));
    urls.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_called_only_if_all_its_addresses_are_public() {
    if !is_inside("names::a_name_is_called_only_if_all_its_addresses_are_public") {
        return;
    }
    let lab = Lab::with(HOSTS).await;
    let alias = |bad: &str| Answer::Alias("files.evolink.ai", vec![bad.parse::<IpAddr>().unwrap()]);
    let mut all = names(&lab, "bad", |bad| vec![at(&[bad])]);
    all.extend(names(&lab, "mixed", |bad| vec![at(&[GOOD, bad])]));
    all.extend(names(&lab, "first", |bad| {
        vec![at(&[bad, GOOD, "2606:4700::1"])]
    }));
    all.extend(names(&lab, "alias", |bad| vec![alias(bad)]));
    let dotted: Vec<String> = all.iter().map(|name| format!("{name}.")).collect();
    for names in [&all, &dotted] {
        for result in lab.assert_given_up(&urls(names, "page")).await {
            let error = result["error"].as_str().unwrap();
            assert!(error.contains("is not fetched: it is at "), "{result}");
        }
    }
    // Another scheme or port is no way in.
    let others = ["http://bad0.evolink.ai/", "https://bad0.evolink.ai:8000/"];
    lab.assert_given_up(&others.map(str::to_owned)).await;
    assert_eq!(lab.traps.called().await, []);
    for (name, good, called) in [
        ("one", GOOD, "8.8.8.8:443"),
        ("two", "2606:4700::1", "[2606:4700::1]:443"),
        ("nat64", "64:ff9b::808:808", "[64:ff9b::808:808]:443"),
    ] {
        lab.dns.say(&format!("{name}.evolink.ai"), &[at(&[good])]);
        let noted = lab
            .assert_archived(&format!("HTTPS://{name}.EVOLINK.ai/page"))
            .await;
        assert_eq!(noted, [(called.to_owned(), 1)]);
    }
    lab.assert_discreet();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_rebound_is_not_followed() {
    if !is_inside("names::a_name_that_is_rebound_is_not_followed") {
        return;
    }
    let lab = Lab::with(HOSTS).await;
    let rebound = |bad: &str| vec![at(&[GOOD]), at(&[bad])];
    // A second look-up, between the check and the connection, would lead to the bad address.
    let names_once = names(&lab, "once", rebound);
    for url in urls(&names_once, "page") {
        assert_eq!(lab.assert_archived(&url).await, once(), "{url}");
    }
    for name in &names_once {
        assert_eq!(lab.dns.asked(name), 1, "{name}");
    }
    // The name is looked up again for the next attempt, and for the connection after a redirect.
    let mut again = urls(&names(&lab, "again", rebound), "fail");
    again.extend(urls(&names(&lab, "hop", rebound), "redirect?302+/page&"));
    let count = u32::try_from(again.len()).unwrap();
    for result in lab.assert_given_up(&again).await {
        let error = result["error"].as_str().unwrap();
        assert!(error.contains("is not fetched: it is at "), "{result}");
    }
    assert_eq!(lab.traps.called().await, times(count));
    lab.assert_discreet();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_an_address_is_tried_again() {
    if !is_inside("names::a_name_without_an_address_is_tried_again") {
        return;
    }
    let lab = Lab::with(HOSTS).await;
    for (name, answer) in [
        ("none", Answer::NoSuchName),
        ("empty", at(&[])),
        ("silent", Answer::Silence),
    ] {
        let name = format!("{name}.evolink.ai");
        lab.dns.say(&name, &[answer]);
        let id = lab
            .complete(&[format!("https://{name}/page?canary-query")])
            .await;
        let has_failed = |result: &Value| result["error"].is_string();
        let shown = &lab.shown_when(&id, has_failed).await[0];
        let error = shown["error"].as_str().unwrap();
        assert!(error.contains("could not be looked up"), "{shown}");
        assert!(shown["url"].is_string(), "it may still come: {shown}");
        lab.dns.say(&name, &[at(&[GOOD])]);
        lab.shown_when(&id, is_archived).await;
    }
    lab.assert_discreet();
}
