//! Attempts that run when the process stops are completed, or their deliveries are released.

use std::time::Duration;

use super::receiver::builder;
use crate::support::app::TestAppBuilder;
use crate::support::deliveries::app::outcome;
use crate::support::deliveries::endpoint::{Behaviour, Endpoint, answer};

async fn state(builder: &TestAppBuilder) -> (String, i64, Option<String>) {
    let database = builder.store.connect().await;
    (
        database.value("SELECT state FROM delivery", &[]).await,
        database.value("SELECT attempts FROM delivery", &[]).await,
        database.value("SELECT holder FROM delivery", &[]).await,
    )
}

#[tokio::test]
async fn an_attempt_that_is_cut_off_is_given_back_and_the_next_process_sends_at_once() {
    let endpoint = Endpoint::start(Behaviour::Silence).await;
    let app = builder(&[("billing", &endpoint.url())])
        .with(|config| config.public.drain_timeout = Duration::from_secs(2))
        .start()
        .await;
    outcome(&app, 1).await;
    endpoint.has(1).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    assert_eq!(state(&builder).await, ("pending".to_owned(), 0, None));
    endpoint.behave(answer(200, ""));
    let app = builder.start().await;
    let received = endpoint.has(2).await;
    assert_eq!(received[0].id(), received[1].id());
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    assert_eq!(state(&builder).await.0, "delivered");
}

#[tokio::test]
async fn an_attempt_that_is_answered_in_time_is_recorded() {
    let slowly = Duration::from_secs(1);
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned();
    let endpoint = Endpoint::start(Behaviour::Slowly(slowly, ok)).await;
    let app = builder(&[("billing", &endpoint.url())]).start().await;
    outcome(&app, 1).await;
    endpoint.has(1).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    assert_eq!(state(&builder).await, ("delivered".to_owned(), 1, None));
}
