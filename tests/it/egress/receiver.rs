//! The program itself in the lab, with apps' addresses and endpoints whose DNS lies: what it
//! delivers, and which addresses it calls.

use std::fmt::Write as _;
use std::time::Duration;

use evolink_receiver::simulator::Simulator;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::is_inside;
use crate::support::machine::addresses::BAD;
use crate::support::machine::dns::{Answer, Dns, at};
use crate::support::machine::traps::Traps;
use crate::support::process::{Place, Receiver};
use crate::support::until::PATIENCE;

const ALLOWED: &str = r#"allowed_hosts = ["*.acme.io"]"#;

/// Public addresses, each for one kind of case.
const REBOUND: &str = "8.8.8.8";
const REDIRECTS: &str = "8.8.4.4";
const WELL: &str = "1.1.1.1";
/// The operator's own endpoint, so a private address is fine.
const BILLING: &str = "10.3.3.3";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_delivers_to_whom_it_may_and_calls_nobody_else() {
    if !is_inside("receiver::the_program_delivers_to_whom_it_may_and_calls_nobody_else") {
        return;
    }
    let (traps, dns) = (Traps::set().await, Dns::start());
    let place = Place::new();
    let _simulator = configured(&place).await;
    dns.say("billing.acme.io", &[at(&[BILLING])]);
    dns.say("meta.acme.io", &[at(&["169.254.169.254"])]);
    let receiver = place.start().await;
    dns.say("well.acme.io", &[at(&[WELL])]);
    let mut urls = vec!["http://well.acme.io/?canary-query".to_owned()];
    dns.say("redirects.acme.io", &[at(&[REDIRECTS])]);
    for to in [
        "http://169.254.169.254/",
        "http://127.0.0.1/",
        "//10.0.0.1/",
    ] {
        urls.push(format!("http://redirects.acme.io/redirect?307+{to}"));
    }
    for (n, bad) in BAD.iter().enumerate() {
        let (mixed, rebound) = (format!("mixed{n}.acme.io"), format!("rebound{n}.acme.io"));
        dns.say(&mixed, &[at(&[WELL, bad])]);
        dns.say(&rebound, &[at(&[REBOUND]), at(&[bad])]);
        urls.push(format!("http://{mixed}/?canary-query"));
        urls.push(format!("http://{rebound}/fail?canary-query"));
    }
    for url in &urls {
        assert_eq!(submit(&receiver, url).await, 200, "{url}");
    }
    for url in [
        "http://169.254.169.254/",
        "http://127.1/",
        "http://localhost/",
        "http://acme.io/",
    ] {
        assert_eq!(submit(&receiver, url).await, 400, "{url}");
    }
    let own = |delivery: &Value| delivery["url"].is_string();
    let is_delivered = |delivery: &Value| delivery["state"] == "delivered";
    let deliveries = until(&receiver, |deliveries| {
        let tried =
            |delivery: &&Value| is_delivered(delivery) || delivery["attempts"].as_u64() >= Some(3);
        let billed = deliveries
            .iter()
            .filter(|delivery| delivery["endpoint"] == "billing" && is_delivered(delivery));
        billed.count() == urls.len()
            && deliveries.iter().filter(|d| own(d)).filter(tried).count() == urls.len()
    })
    .await;
    for delivery in &deliveries {
        let may = delivery["endpoint"] == "billing"
            || delivery["endpoint"] == "http://well.acme.io:80"
            || delivery["endpoint"] == "http://well.acme.io";
        assert_eq!(is_delivered(delivery), may, "{delivery}");
    }
    let errors = |of: &str| {
        let of = |delivery: &&Value| delivery["endpoint"].as_str().unwrap().contains(of);
        let errors = deliveries
            .iter()
            .filter(of)
            .filter_map(|delivery| delivery["last_error"].as_str());
        errors.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    for of in ["mixed", "rebound", "meta"] {
        let errors = errors(of);
        assert!(
            !errors.is_empty() && errors.iter().all(|error| error.starts_with("not called: ")),
            "{of}: {errors:?}"
        );
    }
    // Nothing else was called: no address of the mixed names, not even the good ones, and the
    // rebound names only while their address was good.
    let count =
        |address: &str, times: usize| (format!("{address}:80"), u32::try_from(times).unwrap());
    let called = traps.called().await;
    let (redirects, others): (Vec<_>, Vec<_>) = called
        .into_iter()
        .partition(|(address, _)| address.starts_with(REDIRECTS));
    assert!(redirects[0].1 >= 9, "{redirects:?}");
    let expected = [
        count(WELL, 1),
        count(REBOUND, BAD.len()),
        count(BILLING, urls.len()),
    ];
    assert_eq!(others, expected);
    assert!(!receiver.log().contains("canary-query"));
    receiver.stop().await;
    list_is_emptied(&place, &traps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_name_that_nobody_answers_for() {
    if !is_inside("receiver::a_stop_does_not_wait_for_a_name_that_nobody_answers_for") {
        return;
    }
    let (_traps, dns) = (Traps::set().await, Dns::start_waited_for(30));
    let place = Place::new();
    let _simulator = configured(&place).await;
    dns.say("billing.acme.io", &[at(&[BILLING])]);
    dns.say("meta.acme.io", &[at(&["169.254.169.254"])]);
    dns.say("silent.acme.io", &[Answer::Silence]);
    let receiver = place.start().await;
    assert_eq!(submit(&receiver, "http://silent.acme.io/").await, 200);
    let deadline = Instant::now() + PATIENCE;
    while dns.asked("silent.acme.io") == 0 {
        assert!(Instant::now() < deadline, "{}", receiver.log_tail());
        sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    receiver.stop().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// An address that was accepted is checked again at each attempt.
async fn list_is_emptied(place: &Place, traps: &Traps) {
    place.configure(ALLOWED, "allowed_hosts = []");
    traps.called().await;
    let receiver = place.start().await;
    let own = |delivery: &&Value| delivery["url"].is_string();
    let pending = |delivery: &&Value| delivery["state"] == "pending";
    let left = until(&receiver, |_| true).await;
    for delivery in left.iter().filter(own).filter(pending) {
        let path = format!("/v1/deliveries/{}/retry", delivery["id"]);
        let url = format!("http://{}{path}", receiver.internal());
        let answer = receiver.http.post(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
    }
    let is_told = |delivery: &&Value| {
        let error = delivery["last_error"].as_str().unwrap_or_default();
        error.contains("forward.allowed_hosts is empty")
    };
    let open = |deliveries: &[Value]| {
        let open = deliveries.iter().filter(own);
        let open = open.filter(|delivery| delivery["state"] != "delivered");
        open.cloned().collect::<Vec<_>>()
    };
    let deliveries = until(&receiver, |deliveries| {
        open(deliveries).iter().all(|delivery| is_told(&delivery))
    })
    .await;
    assert_eq!(open(&deliveries).len(), BAD.len() * 2 + 3);
    assert_eq!(traps.called().await, []);
}

/// Starts a simulator as its EvoLink, and configures two endpoints. One is good; DNS says that the
/// other is the metadata service.
async fn configured(place: &Place) -> Simulator {
    let simulator = place.with_simulator().await;
    let secret = place.data().join("endpoint.whsec");
    std::fs::write(&secret, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
    let mut endpoints = String::new();
    for name in ["billing", "meta"] {
        let (url, secret) = (format!("http://{name}.acme.io/"), secret.display());
        let events = r#"["task.completed"]"#;
        writeln!(
            endpoints,
            "[[forward.endpoints]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret_file = \"{secret}\"\nevents = {events}"
        )
        .unwrap();
    }
    place.configure("[forward]\n", &format!("[forward]\n{ALLOWED}\n"));
    place.configure("[reconcile]", &format!("{endpoints}[reconcile]"));
    simulator
}

async fn submit(receiver: &Receiver, callback_url: &str) -> u16 {
    let url = format!("http://{}/v1/images/generations", receiver.internal());
    let body = json!({"model": "z-image-turbo", "prompt": "a cat [sim:duration=10ms]", "callback_url": callback_url});
    let answer = receiver.http.post(url).json(&body).send().await.unwrap();
    answer.status().as_u16()
}

/// All deliveries, once they are as `wanted`.
async fn until(receiver: &Receiver, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, page) = receiver.get("/v1/deliveries?limit=200").await.unwrap();
        assert_eq!((status, &page["next"]), (200, &Value::Null));
        let deliveries = page["data"].as_array().unwrap();
        if wanted(deliveries) {
            return deliveries.clone();
        }
        assert!(
            Instant::now() < deadline,
            "{deliveries:#?}\n{}",
            receiver.log_tail()
        );
        sleep(Duration::from_millis(100)).await;
    }
}
