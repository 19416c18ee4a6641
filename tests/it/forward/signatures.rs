//! Independent verifiers accept the signatures: Python's hmac, in a process, and the crate's.

use std::path::Path;
use std::time::Duration;

use super::receiver::builder;
use crate::support::app::TestApp;
use crate::support::deliveries::app::outcome;
use crate::support::deliveries::endpoint::{Behaviour, Endpoint, Received};
use crate::support::deliveries::signatures::{OTHER_SECRET, SECRET, faults};
use crate::support::machine::needs::{Root, are_met};
use crate::support::until::until;

#[tokio::test]
async fn two_secrets_sign_during_a_rotation_and_attempts_have_fresh_timestamps() {
    if !are_met(Root::NotNeeded, &["python3"]) {
        return;
    }
    let failure = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned();
    let behaviour = Behaviour::Slowly(Duration::from_millis(1100), failure);
    let endpoint = Endpoint::start(behaviour).await;
    let builder = builder(&[("billing", &endpoint.url())]);
    let file = builder.config.forward.endpoints[0].secret_file.clone();
    std::fs::write(file, format!("{OTHER_SECRET}\n# before\n{SECRET}\n")).unwrap();
    let app = builder.start().await;
    outcome(&app, 1).await;
    // More than a second passes between two attempts.
    let received = endpoint.has(2).await;
    assert_eq!(faults(&received, &[SECRET, OTHER_SECRET]), [""; 0]);
    assert!(received.iter().all(|one| one.id() == received[0].id()));
    let timestamps = received.iter().map(|one| one.header("webhook-timestamp"));
    let timestamps: Vec<i64> = timestamps.map(|text| text.parse().unwrap()).collect();
    assert!(timestamps[0] < timestamps[1], "{timestamps:?}");
}

#[tokio::test]
async fn a_secret_is_changed_without_a_restart() {
    if !are_met(Root::NotNeeded, &["python3"]) {
        return;
    }
    let endpoint = Endpoint::good().await;
    let builder = builder(&[("billing", &endpoint.url())]);
    let file = builder.config.forward.endpoints[0].secret_file.clone();
    let app = builder.start().await;
    outcome(&app, 1).await;
    assert_eq!(faults(&endpoint.has(1).await, &[SECRET]), [""; 0]);
    std::fs::write(&file, OTHER_SECRET).unwrap();
    for number in 2..200 {
        outcome(&app, number).await;
        let received = endpoint.has(number).await.pop().unwrap();
        if faults(std::slice::from_ref(&received), &[OTHER_SECRET]).is_empty() {
            file_is_lost(&app, &endpoint, &file).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the new secret is not in use");
}

/// The receiver continues to sign with the secrets that it had, and an operator can see the
/// problem.
async fn file_is_lost(app: &TestApp, endpoint: &Endpoint, file: &Path) {
    const REFUSED: &str = "evolink_receiver_signing_files_refused";
    std::fs::write(file, "").unwrap();
    until("it is told", || app.counter(REFUSED) == 1).await;
    let before = endpoint.count();
    outcome(app, 1000).await;
    let received = endpoint.has(before + 1).await.pop().unwrap();
    assert_eq!(faults(&[received], &[OTHER_SECRET]), [""; 0]);
    std::fs::write(file, SECRET).unwrap();
    until("it can be read again", || app.counter(REFUSED) == 0).await;
}

#[tokio::test]
async fn a_verifier_that_looks_is_not_deceived() {
    if !are_met(Root::NotNeeded, &["python3"]) {
        return;
    }
    let endpoint = Endpoint::good().await;
    let app = super::receiver::start(&endpoint).await;
    outcome(&app, 1).await;
    let good = endpoint.has(1).await.remove(0);
    assert_eq!(faults(std::slice::from_ref(&good), &[SECRET]), [""; 0]);
    let changes: [fn(&mut Received); 4] = [
        |one| one.body.push(b' '),
        |one| set(one, "webhook-id", "7777"),
        |one| set(one, "webhook-timestamp", "1757165031"),
        |one| set(one, "webhook-signature", "v1,AAAA"),
    ];
    for change in changes {
        let mut forged = good.clone();
        change(&mut forged);
        assert_eq!(faults(&[forged], &[SECRET]).len(), 2, "each of both");
    }
}

fn set(received: &mut Received, name: &'static str, value: &'static str) {
    received.headers.insert(name, value.parse().unwrap());
}
