//! Each cause in docs/diagnosis.md is injected into a running program, and the line of the log or
//! the command that the document names shows it.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::domain::callback::{KeyRing, Subject};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::net::raw::RawClient;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::net::tls::client_config;
use crate::support::process::command::{Ended, run_at};
use crate::support::process::{Place, Receiver};
use crate::support::until::{PATIENCE, STEP};

const DOCUMENT: &str = include_str!("../../docs/diagnosis.md");

/// The causes that other stories inject: the file, and the story or its words.
const ELSEWHERE: [(&str, &str, &str); 8] = [
    (
        "the certificate has ended",
        "tests/it/tls/expired.rs",
        "a_start_with_an_expired_certificate_goes_on_and_is_not_ready_until_it_is_renewed",
    ),
    (
        "nothing arrives at all",
        "tests/it/reconciler/poll_only.rs",
        "five_outcomes_in_a_row_without_a_callback_are_reported_until_one_tells_again",
    ),
    (
        "the disk is full, or nearly",
        "tests/it/durability/disk/full.rs",
        "on_a_filling_disk_submits_are_refused_before_callbacks_and_accepted_again_later",
    ),
    (
        "the certificate ends soon",
        "src/http/tls/expiry.rs",
        "Some(Left::Days(21))",
    ),
    (
        "an endpoint refuses our signature",
        "tests/it/forward/stories.rs",
        "any_other_answer_is_a_failure_and_is_retried_with_the_same_id_until_2xx",
    ),
    (
        "an app gets 401 or 403 from the receiver",
        "tests/it/internal/browsers.rs",
        "strangers_cannot_fill_the_log",
    ),
    (
        "result files are not kept",
        "tests/it/archive/faults/disk/full.rs",
        "below_the_minimum_of_free_space_the_archive_pauses",
    ),
    (
        "a configuration does not take effect",
        "tests/it/config/reload.rs",
        "api_keys_and_the_log_level_are_reloaded_and_other_keys_are_named",
    ),
];

/// A row of a table of the document.
struct Row(&'static str);

impl Row {
    fn of(cause: &str) -> Self {
        let mut rows = rows().filter(|(found, _)| *found == cause);
        Self(rows.next().unwrap_or_else(|| panic!("no row: {cause}")).1)
    }

    /// Asserts that one line of `text` has the words of the first quoted piece of the row, in order.
    /// `…` stands for any words.
    fn shows(&self, text: &str) {
        let quoted = self.0.split('`').nth(1).unwrap();
        let is_there = text.lines().any(|line| {
            let mut rest = Some(line);
            for words in quoted.split('…').map(str::trim) {
                rest = rest.and_then(|rest| Some(rest.split_once(words)?.1));
            }
            rest.is_some()
        });
        assert!(is_there, "{quoted}: {text}");
    }
}

/// The causes, each with the rest of its row.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter_map(|row| row.split_once(" | "));
    rows.filter(|(cause, _)| !cause.starts_with("---") && *cause != "cause")
}

async fn until_logged(receiver: &Receiver, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !receiver.log().contains(text) {
        assert!(Instant::now() < deadline, "{text}: {}", receiver.log_tail());
        sleep(STEP).await;
    }
}

async fn command(receiver: &Receiver, args: &[&str]) -> Ended {
    let ended = run_at(&format!("http://{}", receiver.internal()), args, &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

#[test]
fn each_cause_has_a_story_that_injects_it() {
    let own = include_str!("diagnosis.rs");
    let mut known = 0;
    for (cause, _) in rows() {
        let elsewhere = ELSEWHERE.iter().find(|(known, ..)| *known == cause);
        if let Some((_, file, story)) = elsewhere {
            let file = fs::read_to_string(file).unwrap();
            assert!(file.contains(story), "{cause}: {story}");
        } else {
            assert!(own.contains(&format!("Row::of(\"{cause}\")")), "{cause}");
        }
        known += 1;
    }
    assert!(known > 15, "{known}");
}

#[tokio::test]
async fn what_keeps_callbacks_away_is_in_the_log() {
    let place = Place::new();
    let receiver = place.start().await;
    let shaken = async |roots: &str, name: &str| {
        let shaken = RawClient::try_connect_tls(place.public(), client_config(roots), name).await;
        assert!(shaken.is_err());
    };
    let posted = async |path: &str| {
        let url = receiver.callback_url();
        let url = url.replace(&format!("/callbacks/{}", receiver.token), path);
        let answer = receiver.http.post(url).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    };
    shaken("", "localhost").await;
    until_logged(&receiver, "unknown_ca").await;
    Row::of("EvoLink does not trust the certificate").shows(&receiver.log());
    shaken(&receiver.certificate_pem, "elsewhere.example").await;
    until_logged(&receiver, "wrong_name").await;
    Row::of("the certificate is for another name").shows(&receiver.log());
    posted("/hooks/callbacks/x").await;
    until_logged(&receiver, "wrong_path").await;
    Row::of("a proxy changes the path").shows(&receiver.log());
    let ring = KeyRing::parse(&format!("other {}", "ab".repeat(32))).unwrap();
    let token = ring.mint(&Subject::Standing("shop".parse().unwrap()));
    posted(&format!("/callbacks/{token}")).await;
    until_logged(&receiver, "unknown_key").await;
    Row::of("the key ring was replaced").shows(&receiver.log());
    receiver.stop().await;
}

#[tokio::test]
async fn a_lost_key_ring_is_named_by_the_start_that_it_stops() {
    let row = Row::of("the key ring was lost");
    let place = Place::new();
    let receiver = place.start().await;
    let body = json!({"id": "task-1", "status": "processing"});
    assert_eq!(receiver.callback(body.to_string()).await.unwrap().0, 200);
    receiver.stop().await;
    fs::remove_file(place.data().join("callback_tokens.key")).unwrap();
    let ended = place.run_to_end().await;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(
        row.0.contains("(78)") && said.contains("callback_tokens.key_file"),
        "{said}"
    );
    assert!(said.contains("keys new --ring"), "the way out: {said}");
}

#[tokio::test]
async fn a_machine_without_a_public_address_finds_outcomes_by_polling() {
    let row = Row::of("there is no public address");
    let place = Place::new();
    let simulator = place.with_simulator().await;
    place.configure("[public]\n", "[public]\nmode = \"poll-only\"\n");
    assert!(row.0.contains("`public.mode = \"poll-only\"`"));
    let receiver = place.start().await;
    let task = submitted(
        &receiver,
        json!({"model": "z-image-turbo", "prompt": "a cat"}),
    )
    .await;
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(simulator.tasks().pop().unwrap().callback_url, None);
    receiver.stop().await;
}

async fn submitted(receiver: &Receiver, body: Value) -> Value {
    let url = format!(
        "http://{}/v1/images/generations?wait=50",
        receiver.internal()
    );
    let answer = receiver.http.post(url).json(&body).send().await.unwrap();
    answer.json().await.unwrap()
}

/// When something is wrong, an operator needs the commands, whatever was mistyped elsewhere.
#[tokio::test]
async fn commands_find_the_service_although_its_file_has_an_error_now() {
    let place = Place::new();
    let receiver = place.start().await;
    let config = fs::read_to_string(place.config()).unwrap();
    fs::write(
        place.config(),
        format!("{config}\n[retention]\ntaks = \"1d\"\n"),
    )
    .unwrap();
    let file = place.config().display().to_string();
    let ended = run_at("", &["status", "--config", &file], &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("service"), "{}", ended.stdout);
    receiver.stop().await;
}

#[tokio::test]
async fn a_key_that_evolink_rejects_is_named() {
    let place = Place::new();
    let rejection = r#"{"error":{"code":"unauthorized","message":"no","type":"x"}}"#;
    let evolink = RawServer::start(http(401, &[], rejection), End::Close).await;
    place.configure_evolink(&evolink.url);
    let receiver = place.start().await;
    let (status, code) = receiver.submit().await.unwrap();
    assert_eq!((status, &*code), (502, "evolink_key_rejected"));
    until_logged(&receiver, "rejects").await;
    Row::of("EvoLink rejects our key").shows(&receiver.log());
    receiver.stop().await;
}

#[tokio::test]
async fn an_evolink_that_answers_no_poll_is_named() {
    let place = Place::new();
    let numbers = AtomicUsize::new(0);
    let evolink = RawServer::start_slow(Duration::ZERO, move |request| {
        if request.starts_with("GET") {
            return http(500, &[], "");
        }
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let task = json!({"id": format!("task-{number}"), "status": "pending", "progress": 0});
        http(200, &[], &task.to_string())
    });
    let evolink = evolink.await;
    place.configure_evolink(&evolink.url);
    place.configure("first_poll_after = \"1h\"", "first_poll_after = \"1s\"");
    let receiver = place.start().await;
    for number in 0..10 {
        let prompt = format!("cat {number}");
        let url = format!("http://{}/v1/images/generations", receiver.internal());
        let body = json!({"model": "z-image-turbo", "prompt": prompt});
        let answer = receiver.http.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    until_logged(&receiver, "answers no poll").await;
    Row::of("EvoLink is down").shows(&receiver.log());
    receiver.stop().await;
}

#[tokio::test]
async fn a_submit_of_unknown_outcome_is_listed() {
    let row = Row::of("a submit of unknown outcome");
    let place = Place::new();
    let evolink = RawServer::start(Vec::new(), End::Close).await;
    place.configure_evolink(&evolink.url);
    let receiver = place.start().await;
    let (status, code) = receiver.submit().await.unwrap();
    assert_eq!((status, &*code), (504, "submit_outcome_unknown"));
    let line = row.0.split('`').nth(1).unwrap();
    let args: Vec<&str> = line.split(' ').collect();
    let listed = command(&receiver, &args).await;
    assert!(
        listed.stdout.contains("submit_unknown"),
        "{}",
        listed.stdout
    );
    receiver.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_fails_is_shown_with_its_error() {
    let row = Row::of("an endpoint does not answer");
    let place = Place::new();
    let _simulator = place.with_simulator().await;
    let gone = RawServer::start(http(410, &[], ""), End::Close).await;
    let secret = place.config().with_extension("whsec");
    fs::write(&secret, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n").unwrap();
    let endpoint = |name: &str, url: &str| {
        format!(
            "[[forward.endpoints]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret_file = \"{}\"\n\
             events = [\"task.completed\"]\n",
            secret.display()
        )
    };
    let config = fs::read_to_string(place.config()).unwrap();
    let dead = endpoint("dead", "http://127.0.0.1:1/");
    let config = format!("{config}\n{dead}{}", endpoint("gone", &gone.url));
    fs::write(place.config(), config).unwrap();
    let receiver = place.start().await;
    let task = submitted(
        &receiver,
        json!({"model": "z-image-turbo", "prompt": "a cat"}),
    )
    .await;
    assert_eq!(task["status"], "completed", "{task}");
    let deadline = Instant::now() + PATIENCE;
    let failed = loop {
        let (_, page) = receiver.get("/v1/deliveries?endpoint=dead").await.unwrap();
        let delivery = page["data"][0].clone();
        if delivery["attempts"].as_u64() > Some(0) {
            break delivery;
        }
        assert!(Instant::now() < deadline, "{page}");
        sleep(STEP).await;
    };
    for words in ["`status`", "`deliveries list`", "`deliveries show ID`"] {
        assert!(row.0.contains(words), "{words}");
    }
    let id = failed["id"].to_string();
    for args in [
        &["status"] as &[&str],
        &["deliveries", "show", id.trim_matches('"')],
    ] {
        let shown = command(&receiver, args).await.stdout;
        assert!(shown.contains("refused"), "{args:?}: {shown}");
    }
    let shown = command(&receiver, &["deliveries", "list"]).await.stdout;
    assert!(shown.contains("dead"), "{shown}");

    let row = Row::of("an endpoint answered 410");
    let line = row.0.split('`').nth(1).unwrap();
    let args: Vec<&str> = line.split(' ').collect();
    let deadline = Instant::now() + PATIENCE;
    while !command(&receiver, &args).await.stdout.contains("gone") {
        assert!(Instant::now() < deadline, "{line}");
        sleep(STEP).await;
    }
    receiver.stop().await;
}

#[tokio::test]
async fn a_damaged_store_ends_the_process_and_is_named() {
    let row = Row::of("the store is damaged");
    let place = Place::new();
    if place.store().file().is_none() {
        return;
    }
    place.start().await.stop().await;
    fs::write(place.database(), [7; 8192]).unwrap();
    let ended = place.run_to_end().await;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(65), "{said}");
    let file = place.database();
    assert!(row.0.contains("65 and names the file"));
    assert!(said.contains(file.to_str().unwrap()), "{said}");
}
