//! Replicas make their callback URLs with keys that all of them know, or do not start.

use std::fs;

use evolink_receiver::domain::callback::KeyRing;

use crate::support::process::Place;

/// `EX_CONFIG`: restarting without changing the configuration does not help.
const CONFIGURATION: i32 = 78;

#[tokio::test]
async fn a_replica_with_a_key_ring_of_its_own_does_not_start() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    let mut first = place.start().await;
    let ring = fs::read_to_string(place.data().join("callback_tokens.key")).unwrap();
    let fresh = || KeyRing::generate().unwrap();
    let (id, secret) = ring.split_once(' ').unwrap();
    let same_id = format!("{id} {}", fresh().split_once(' ').unwrap().1);
    let both_with_a_false_one = format!("{}{same_id}", fresh());
    for wrong in [fresh(), same_id, both_with_a_false_one] {
        let stranger = place.stranger(&wrong);
        let ended = stranger.run_to_end().await;
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(ended.status.code(), Some(CONFIGURATION), "{said}");
        let names_it = |line: &str| line.contains("callback_tokens.key_file");
        assert!(said.lines().any(names_it), "{said}");
        assert!(!said.contains(secret.trim()), "{said}");
    }
    // A refused replica registers no key, so it cannot affect the next start.
    let shares = place.stranger(&format!("{}{ring}", fresh()));
    let mut second = shares.start().await;
    assert!(first.is_running() && second.is_running());
    // Tokens made with the newer key are invalid at the first replica until it has the new ring
    // too.
    let body =
        r#"{"id":"task-ring","status":"completed","results":["https://files.evolink.ai/0.webp"]}"#;
    let answer = second.callback(body.to_owned()).await.unwrap();
    assert_eq!(answer.0, 200);
    drop(second);
    let mut again = place.replica().start().await;
    assert!(again.is_running(), "who has the old ring still may start");
}

#[tokio::test]
async fn check_refuses_a_key_ring_that_a_start_refuses() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    let own = place.check();
    assert!(own.contains("callback_tokens.key: will be made"), "{own}");
    let _first = place.start().await;
    let own = place.check();
    assert!(own.contains("callback_tokens.key: a key ring"), "{own}");
    let stranger = place.stranger(&KeyRing::generate().unwrap());
    let found = stranger.check();
    let refused = "error   callback_tokens.key_file: holds none of the keys that";
    assert!(found.contains(refused), "{found}");
}

#[tokio::test]
async fn a_replica_without_the_key_ring_of_the_others_makes_none() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    let mut first = place.start().await;
    let other = place.stranger("");
    let ring = other.data().join("callback_tokens.key");
    fs::remove_file(&ring).unwrap();
    let refused = format!(
        "callback_tokens.key_file: {} is absent, and the database's other processes have one: copy theirs here",
        ring.display()
    );
    let found = other.check();
    assert!(found.contains(&format!("error   {refused}")), "{found}");
    let ended = other.run_to_end().await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(CONFIGURATION), "{said}");
    assert!(said.contains(&refused), "{said}");
    assert!(!ring.exists(), "none is left behind");
    assert!(first.is_running());
}
