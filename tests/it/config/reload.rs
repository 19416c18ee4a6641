//! What takes effect without a restart, on SIGHUP and by itself, and what is said about the rest.

use std::fs;

use evolink_receiver::app::reload::RELOADED;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::SHA256;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::process::{Place, Receiver};
use crate::support::until::PATIENCE;

/// Waits until `is_it` holds of the state of the configuration in `/readyz?verbose`.
async fn until_configuration(receiver: &Receiver, is_it: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, body) = receiver.get("/readyz?verbose").await.unwrap();
        let detail = &body["details"]["configuration"];
        if is_it(detail) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{detail}: {}",
            receiver.log_tail()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

pub async fn until_logged(receiver: &Receiver, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !receiver.log().contains(text) {
        assert!(Instant::now() < deadline, "{text}: {}", receiver.log_tail());
        sleep(Duration::from_millis(20)).await;
    }
}

fn says(detail: &Value, text: &str) -> bool {
    detail["message"]
        .as_str()
        .is_some_and(|message| message.contains(text))
}

async fn fingerprint(receiver: &Receiver) -> String {
    let url = format!("http://{}/metrics", receiver.internal);
    let metrics = receiver
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let start = "evolink_receiver_config_info{fingerprint=\"";
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(start));
    let line = lines.next().expect("one fingerprint");
    assert_eq!(lines.next(), None, "one at a time");
    line.trim_end_matches("\"} 1").to_owned()
}

#[tokio::test]
async fn a_new_key_of_evolink_is_used_without_a_restart_and_the_old_one_stays_hidden() {
    let (old, new) = ("sk-the-key-of-yesterday", "sk-the-key-of-today");
    let place = Place::new();
    let file = place.config().with_extension("key");
    fs::write(&file, old).unwrap();
    let echo = format!(r#"{{"error":{{"code":"x","message":"{old} {new}","type":"x"}}}}"#);
    let evolink = RawServer::start(http(400, &[], &echo), End::Close).await;
    place.configure_evolink(&evolink.url);
    let in_file = format!("api_key_file = \"{}\"", file.display());
    place.configure("api_key = \"not-a-key\"", &in_file);
    let receiver = place.start().await;
    let bearer = async || {
        let (_, answer) = receiver.get("/v1/credits").await.unwrap();
        let request = evolink.requests().pop().unwrap();
        let mut lines = request.lines();
        let line = lines.find(|line| line.to_lowercase().starts_with("authorization:"));
        (line.unwrap().rsplit(' ').next().unwrap().to_owned(), answer)
    };
    assert_eq!(bearer().await.0, old);
    let before = fingerprint(&receiver).await;
    // Without a signal: the file is read again by itself.
    fs::write(&file, new).unwrap();
    until_logged(&receiver, "evolink.api_key_file has changed").await;
    let (used, answer) = bearer().await;
    assert_eq!(used, new);
    let answer = answer.to_string();
    assert!(answer.contains("[redacted]"), "{answer}");
    for key in [old, new] {
        assert!(!answer.contains(key) && !receiver.log().contains(key));
    }
    assert_eq!(fingerprint(&receiver).await, before, "it shows no secret");
    receiver.stop().await;
}

#[tokio::test]
async fn api_keys_and_the_log_level_are_reloaded_and_other_keys_are_named() {
    let place = Place::new();
    let receiver = place.start().await;
    let tasks = async || receiver.status("/v1/tasks").await;
    let first = fingerprint(&receiver).await;
    until_configuration(&receiver, |detail| {
        detail["state"] == "ok" && says(detail, &format!("fingerprint {first}, read at 20"))
    })
    .await;
    assert_eq!(tasks().await, Some(200));

    let good = fs::read_to_string(place.config()).unwrap();
    let keys = format!(
        "[[internal.api_keys]]\nname = \"web\"\nsha256 = \"{SHA256}\"\nscopes = [\"read\"]\n"
    );
    fs::write(place.config(), format!("{good}\n{keys}")).unwrap();
    receiver.hang_up();
    until_logged(&receiver, "internal.api_keys has changed").await;
    assert_eq!(tasks().await, Some(401));
    let url = format!("http://{}/v1/tasks", receiver.internal);
    // The SHA-256 of this text is the one above.
    let admitted = receiver
        .http
        .get(url)
        .bearer_auth("test")
        .send()
        .await
        .unwrap();
    assert_eq!(admitted.status(), 200);
    let second = fingerprint(&receiver).await;
    assert_ne!(second, first);

    // What is wrong changes nothing, and is said once.
    fs::write(
        place.config(),
        format!("{good}\n[retention]\ntasks = \"ever\"\n"),
    )
    .unwrap();
    receiver.hang_up();
    until_configuration(&receiver, |detail| {
        detail["state"] == "warning" && says(detail, "has errors now")
    })
    .await;
    receiver.hang_up();
    receiver.hang_up();
    assert_eq!(tasks().await, Some(401), "the keys stay");
    assert_eq!(fingerprint(&receiver).await, second);

    // What needs a restart is named, and the rest takes effect.
    let more = "[retention]\ntasks = \"80d\"\n[log]\nlevel = \"debug\"\n";
    fs::write(place.config(), format!("{good}\n{more}")).unwrap();
    receiver.hang_up();
    until_configuration(&receiver, |detail| {
        detail["state"] == "warning" && says(detail, "retention.tasks")
    })
    .await;
    let said = "retention.tasks has changed: it takes effect at the next start";
    assert_eq!(receiver.log().matches(said).count(), 1);
    let refused = "because the configuration has errors: retention.tasks";
    assert_eq!(
        receiver.log().matches(refused).count(),
        1,
        "{}",
        receiver.log()
    );
    until_logged(&receiver, "log.level has changed: debug").await;
    assert_eq!(
        tasks().await,
        Some(401),
        "a file without keys opens nothing"
    );
    assert!(!receiver.log().contains("sk-"));

    fs::write(place.config(), &good).unwrap();
    receiver.hang_up();
    let said = "a restart is needed for internal.api_keys";
    until_configuration(&receiver, |detail| says(detail, said)).await;
    assert_eq!(tasks().await, Some(401));
    receiver.stop().await;
}

/// A listener that everybody reaches must not lose its keys by a reload.
#[tokio::test]
async fn keys_that_the_running_listener_needs_are_not_taken_away() {
    let place = Place::new();
    let good = fs::read_to_string(place.config()).unwrap();
    let open = good.replace(
        &format!("listen = \"{}\"", place.internal()),
        "listen = \"0.0.0.0:0\"",
    );
    assert_ne!(open, good);
    let keys = format!(
        "[[internal.api_keys]]\nname = \"web\"\nsha256 = \"{SHA256}\"\nscopes = [\"read\"]\n"
    );
    fs::write(place.config(), format!("{open}\n{keys}")).unwrap();
    let (mut child, log) = place.spawn();
    let logged = async |text: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&log).unwrap_or_default().contains(text) {
            assert!(Instant::now() < deadline, "{text}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    logged("ready: callbacks at").await;
    // Right for a start, but the listener of this process stays where it is.
    fs::write(place.config(), good).unwrap();
    logged("internal.api_keys has changed: it takes effect at the next start").await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_document_says_which_keys_are_reloaded() {
    let document = include_str!("../../../docs/configuration.md");
    let row = document
        .lines()
        .find(|line| line.contains("within 10 s, and at SIGHUP"));
    let row = row.expect("a table of what is read when");
    for key in RELOADED {
        assert!(row.contains(&format!("`{key}`")), "{key}: {row}");
    }
}
