//! `check` of addresses, of the clock, and of the roots of the system.

use evolink_receiver::clock::Clock;
use evolink_receiver::commands::check::surroundings;
use evolink_receiver::config::Level;
use evolink_receiver::domain::timestamp::Timestamp;

use super::place::Place;

#[tokio::test]
async fn an_address_in_use_is_a_warning_because_the_service_itself_may_run() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut place = Place::new();
    place.config.internal.listen = taken.local_addr().unwrap();
    let finding = place.finding("internal.listen").await;
    assert!(
        finding.starts_with("warning internal.listen: 127.0.0.1:")
            && finding.contains("in use by another process"),
        "{finding}"
    );
    drop(taken);
    assert_eq!(place.finding("internal.listen").await, "");
}

#[tokio::test]
async fn clock_and_roots_are_looked_at() {
    let mut place = Place::new();
    assert!(place.finding("clock").await.starts_with("ok      clock: 2"));
    assert!(
        place
            .finding("system roots")
            .await
            .starts_with("ok      system roots: ")
    );
    for millis in [0, 1_767_225_599_999, 4_102_444_800_000] {
        place.clock = Clock::manual(Timestamp::from_millis(millis));
        let wrong = place.finding("clock").await;
        assert!(wrong.starts_with("error   clock: shows "), "{wrong}");
    }
    let findings = surroundings(&Place::new().config, &Clock::System).await;
    assert!(
        findings.iter().all(|finding| finding.level == Level::Ok),
        "{findings:?}"
    );
}
