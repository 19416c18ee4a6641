//! Result URLs of an attacker, in a lab network: every address in the world is a trap that records
//! its callers, and DNS lies. The real program may fetch from EvoLink's hosts and from nowhere
//! else. Each test also fetches something, so that zero connections elsewhere prove something.

mod literals;
mod names;
mod redirects;
mod table;

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep};

use crate::support::app::callback_body::completed_with;
use crate::support::files::{archive_in, png};
use crate::support::machine::dns::{Dns, at};
use crate::support::machine::own_network;
use crate::support::machine::traps::Traps;
use crate::support::net::certificates::Pem;
use crate::support::process::{Place, Receiver};
use crate::support::until::PATIENCE;

/// The address of EvoLink's hosts.
const GOOD: &str = "8.8.8.8";
const GOOD_PORT: &str = "8.8.8.8:443";

const HOSTS: &str = r#"allowed_hosts = ["*.evolink.ai"]"#;

/// The number of results of one task that are fetched.
const RESULTS_AT_ONCE: usize = 64;

fn is_inside(name: &str) -> bool {
    own_network::is_inside_lab(&format!("archive::egress::{name}"), &[])
}

struct Lab {
    traps: Traps,
    dns: Dns,
    receiver: Receiver,
    _place: Place,
    _roots: NamedTempFile,
}

impl Lab {
    /// Starts a receiver with these settings of its archive. It trusts the traps as EvoLink's
    /// hosts.
    async fn with(settings: &str) -> Self {
        let pem = Pem::good_for(&["*.evolink.ai"]);
        let roots = NamedTempFile::new().unwrap();
        std::fs::write(roots.path(), &pem.cert).unwrap();
        let traps = Traps::set_with(Some(pem.acceptor()), &png(1, 100)).await;
        let dns = Dns::start();
        for name in ["files.evolink.ai", "cdn.evolink.ai"] {
            dns.say(name, &[at(&[GOOD])]);
        }
        let mut place = Place::new();
        archive_in(&place, settings);
        // EvoLink itself is a trap too.
        place.configure("http://127.0.0.1:1", "http://127.0.0.1:80");
        let trust = format!("SSL_CERT_FILE={}", roots.path().display());
        place.launch_through(&["env", &trust, "SSL_CERT_DIR=/nowhere"]);
        let receiver = place.start().await;
        traps.called().await;
        Self {
            traps,
            dns,
            receiver,
            _place: place,
            _roots: roots,
        }
    }

    /// Completes tasks with these results, and waits until `is_over` holds for each of them.
    /// Returns them as the tasks show them, in the same order.
    async fn results(&self, urls: &[String], is_over: impl Fn(&Value) -> bool) -> Vec<Value> {
        // All at once, so that their pauses between attempts pass together.
        let mut ids = Vec::new();
        for urls in urls.chunks(RESULTS_AT_ONCE) {
            ids.push(self.complete(urls).await);
        }
        let mut shown = Vec::new();
        for id in ids {
            shown.extend(self.shown_when(&id, &is_over).await);
        }
        assert_eq!(shown.len(), urls.len(), "{shown:?}");
        shown
    }

    /// Completes a task with these results. Returns its id.
    async fn complete(&self, urls: &[String]) -> String {
        let id = format!("task-{:016x}", fastrand::u64(..));
        let sent = self
            .receiver
            .callback(completed_with(&id, &json!(urls)))
            .await;
        assert_eq!(sent, Some((200, None)), "{}", self.receiver.log_tail());
        id
    }

    /// Waits until `is_it` holds for all results of a task, and returns them.
    async fn shown_when(&self, id: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let path = format!("/v1/tasks/{id}");
            let (_, task) = self.receiver.get(&path).await.unwrap();
            let results = task["receiver"]["results"].as_array().unwrap();
            let Some(other) = results.iter().find(|result| !is_it(result)) else {
                return results.clone();
            };
            assert!(Instant::now() < deadline, "{other}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asserts that none of these results is fetched, whatever is tried, and that each is given up
    /// with a reason.
    async fn assert_given_up(&self, urls: &[String]) -> Vec<Value> {
        let is_over = |result: &Value| result["url"].is_null() || is_archived(result);
        let shown = self.results(urls, is_over).await;
        for (url, result) in urls.iter().zip(&shown) {
            let error = result["error"].as_str().unwrap_or_default();
            assert!(!is_archived(result) && !error.is_empty(), "{url}: {result}");
            assert!(!error.contains("canary"), "{url}: {result}");
            let origin_url = url.replace('\0', "\u{fffd}");
            assert_eq!(result["origin_url"], origin_url);
        }
        shown
    }

    /// Asserts that this result is fetched, and returns the connections that this took.
    async fn assert_archived(&self, url: &str) -> Vec<(String, u32)> {
        let is_over = |result: &Value| result["url"].is_null() || is_archived(result);
        let shown = self.results(&[url.to_owned()], is_over).await;
        assert!(is_archived(&shown[0]), "{url}: {}", shown[0]);
        self.traps.called().await
    }

    /// Asserts that nothing but a request for a file was ever said to a host, and that no log has
    /// a query string.
    fn assert_discreet(&self) {
        let heads = self.traps.heads();
        assert!(!heads.is_empty(), "somebody was called");
        let to_evolink = |head: &&String| head.contains("127.0.0.1");
        let (_, others): (Vec<_>, Vec<_>) = heads.iter().partition(to_evolink);
        for head in others {
            let lower = head.to_lowercase();
            for secret in ["not-a-key", "authorization", "cookie", "referer"] {
                assert!(!lower.contains(secret), "{head}");
            }
            assert!(head.starts_with("GET /"), "{head}");
        }
        assert!(!self.receiver.log().contains("canary"));
    }
}

fn is_archived(result: &Value) -> bool {
    result["archived_at"].is_string()
}

/// One connection to EvoLink's host.
fn once() -> Vec<(String, u32)> {
    times(1)
}

fn times(connections: u32) -> Vec<(String, u32)> {
    vec![(GOOD_PORT.to_owned(), connections)]
}
