//! Names, and a DNS that lies about them: mixed answers, other answers the second time, aliases,
//! and none.

use std::net::IpAddr;

use evolink_receiver::egress::{Egress, NoAnswer};

use super::{egress, is_inside, is_refused, own, standing};
use crate::support::machine::addresses::BAD;
use crate::support::machine::dns::{Answer, Dns, at};
use crate::support::machine::traps::Traps;

const GOOD: &str = "8.8.8.8";

fn called(address: &str) -> Vec<(String, u32)> {
    vec![(address.to_owned(), 1)]
}

struct Lab {
    traps: Traps,
    dns: Dns,
    egress: Egress,
}

impl Lab {
    async fn new() -> Self {
        Self {
            traps: Traps::set().await,
            dns: Dns::start(),
            egress: egress(
                &["*.acme.io", "*.internal", "db", "localhost", "*.localhost"],
                &["10.7.0.0/16"],
            ),
        }
    }

    /// Asserts that a name with these answers is never called, at any of three attempts.
    async fn assert_refused(&self, name: &str, answers: &[Answer]) {
        self.dns.say(name, answers);
        for scheme in ["http", "https"] {
            let result = own(&self.egress, &format!("{scheme}://{name}/")).await;
            assert!(is_refused(&result), "{name} {answers:?}: {result:?}");
        }
        assert_eq!(self.traps.called().await, [], "{name} {answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_called_only_if_all_its_addresses_may_be() {
    if !is_inside("names::a_name_is_called_only_if_all_its_addresses_may_be") {
        return;
    }
    let lab = Lab::new().await;
    let name = "hooks.acme.io";
    for bad in BAD {
        lab.assert_refused(name, &[at(&[bad])]).await;
        lab.assert_refused(name, &[at(&[GOOD, bad])]).await;
        lab.assert_refused(name, &[at(&[bad, GOOD, "2606:4700::1"])])
            .await;
        let alias = Answer::Alias("files.evolink.ai", vec![bad.parse::<IpAddr>().unwrap()]);
        lab.assert_refused(name, &[alias]).await;
    }
    let many: Vec<_> = (1..40).map(|n| format!("8.8.4.{n}")).collect();
    let mut many: Vec<_> = many.iter().map(String::as_str).collect();
    many.push("10.0.0.1");
    // The number of addresses that fit into one datagram.
    lab.assert_refused(name, &[at(&many[20..])]).await;
    // Good names are called once, at an address that was checked.
    for (name, good, trap) in [
        (name, GOOD, "8.8.8.8:80"),
        (name, "2606:4700::1", "[2606:4700::1]:80"),
        (name, "10.7.1.1", "10.7.1.1:80"),
        (name, "64:ff9b::808:808", "[64:ff9b::808:808]:80"),
        ("db", "10.0.0.1", "10.0.0.1:80"),
        ("a.internal", "fc00::1", "[fc00::1]:80"),
        ("localhost", "", "127.0.0.1:80"),
    ] {
        if !good.is_empty() {
            lab.dns.say(name, &[at(&[good])]);
        }
        assert_eq!(
            own(&lab.egress, &format!("http://{name}/")).await,
            Ok(204),
            "{name} {good}"
        );
        let mut noted = lab.traps.called().await;
        if name == "localhost" {
            noted[0].0 = noted[0].0.replace("[::1]", "127.0.0.1");
        }
        assert_eq!(noted, called(trap), "{name} {good}");
    }
    let aliased = Answer::Alias("files.evolink.ai", vec![GOOD.parse().unwrap()]);
    lab.dns.say(name, &[aliased]);
    assert_eq!(own(&lab.egress, "http://hooks.acme.io/").await, Ok(204));
    assert_eq!(lab.traps.called().await, called("8.8.8.8:80"));
    let heads = lab.traps.heads();
    assert!(
        heads
            .last()
            .unwrap()
            .to_lowercase()
            .contains("host: hooks.acme.io\r\n"),
        "{heads:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_decide_which_addresses_a_name_may_have() {
    if !is_inside("names::looks_decide_which_addresses_a_name_may_have") {
        return;
    }
    let lab = Lab::new().await;
    for name in ["db", "a.internal"] {
        for bad in [
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "198.18.0.1",
            "0.0.0.0",
            "fd00:ec2::254",
        ] {
            lab.assert_refused(name, &[at(&[bad])]).await;
            lab.assert_refused(name, &[at(&["10.0.0.1", bad])]).await;
        }
    }
    // The hosts file answers without DNS, and leads to loopback.
    let result = own(&lab.egress, "http://itself.internal/").await;
    assert!(is_refused(&result), "{result:?}");
    // Port 8000 of loopback is our own.
    lab.dns.say("localhost", &[at(&["127.0.0.1", "::1"])]);
    for name in ["localhost", "LOCALHOST."] {
        let result = own(&lab.egress, &format!("http://{name}:8000/")).await;
        assert!(is_refused(&result), "{result:?}");
    }
    // An operator's endpoint may be private, but never the metadata service, whatever DNS says.
    for bad in [
        "169.254.169.254",
        "100.100.100.200",
        "fd00:ec2::254",
        "0.0.0.0",
        "64:ff9b::a9fe:a9fe",
    ] {
        lab.dns.say("billing.acme.io", &[at(&[GOOD, bad])]);
        let result = standing(&lab.egress, "http://billing.acme.io/").await;
        assert!(is_refused(&result), "{bad}: {result:?}");
    }
    lab.dns.say("billing.acme.io", &[at(&["127.0.0.1"])]);
    let result = standing(&lab.egress, "http://billing.acme.io:8000/").await;
    assert!(is_refused(&result), "{result:?}");
    assert_eq!(lab.traps.called().await, []);
    for good in ["127.0.0.1", "10.0.0.1", "198.18.0.1"] {
        lab.dns.say("billing.acme.io", &[at(&[good])]);
        assert_eq!(
            standing(&lab.egress, "http://billing.acme.io/").await,
            Ok(204),
            "{good}"
        );
        assert_eq!(lab.traps.called().await, called(&format!("{good}:80")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_rebound_is_not_followed() {
    if !is_inside("names::a_name_that_is_rebound_is_not_followed") {
        return;
    }
    let lab = Lab::new().await;
    let name = "hooks.acme.io";
    for bad in BAD {
        // The first look-up, for the check, is public. A second one, to connect, would give another
        // address.
        lab.dns.say(name, &[at(&[GOOD]), at(&[bad])]);
        assert_eq!(
            own(&lab.egress, "http://hooks.acme.io/").await,
            Ok(204),
            "{bad}"
        );
        assert_eq!(lab.traps.called().await, called("8.8.8.8:80"), "{bad}");
        assert_eq!(lab.dns.asked(name), 1, "once for each attempt");
        for _ in 0..2 {
            let result = own(&lab.egress, "http://hooks.acme.io/").await;
            assert!(is_refused(&result), "{bad}: {result:?}");
        }
        assert_eq!(lab.dns.asked(name), 3, "once for each attempt");
        assert_eq!(lab.traps.called().await, [], "{bad}");
    }
    // The reverse: a name that was refused once is called when its DNS is correct again.
    lab.dns.say(name, &[at(&["10.0.0.1"]), at(&[GOOD])]);
    assert!(is_refused(&own(&lab.egress, "http://hooks.acme.io/").await));
    assert_eq!(own(&lab.egress, "http://hooks.acme.io/").await, Ok(204));
    assert_eq!(lab.traps.called().await, called("8.8.8.8:80"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_an_address_is_no_refusal_and_holds_nobody_up() {
    if !is_inside("names::a_name_without_an_address_is_no_refusal_and_holds_nobody_up") {
        return;
    }
    let lab = Lab::new().await;
    let name = "hooks.acme.io";
    for answer in [
        at(&[]),
        Answer::NoSuchName,
        Answer::Alias("x.io", Vec::new()),
    ] {
        lab.dns.say(name, std::slice::from_ref(&answer));
        let result = own(&lab.egress, "https://hooks.acme.io/?secret").await;
        let Err(NoAnswer::Unresolved(why)) = &result else {
            panic!("{answer:?}: {result:?}");
        };
        assert!(
            why.starts_with("hooks.acme.io could not be looked up: "),
            "{why}"
        );
    }
    lab.dns.say(name, &[Answer::Silence]);
    let result = own(&lab.egress, "http://hooks.acme.io/").await;
    assert_eq!(
        result,
        Err(NoAnswer::Unresolved(
            "hooks.acme.io could not be looked up: no answer in 5s".to_owned()
        ))
    );
    assert_eq!(lab.traps.called().await, []);
}
