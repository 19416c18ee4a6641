//! Whether callbacks tell of the newest outcomes.

use std::time::Duration;

use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::store::Store;
use evolink_receiver::store::read::told::{Finding, Untold};

use crate::support::store::TestStore;
use crate::support::store::database::Database;

/// Writes the event `seq`, of a task of its own, one second after the one before. `sources` are
/// those of the task's observations.
async fn tell(database: &Database, seq: i64, kind: &str, source: &str, sources: &[&str]) {
    let at = seq * 1000;
    let event = format!(
        "INSERT INTO event (seq, task_seq, type, source, at) VALUES ({seq}, {seq}, '{kind}', {source}, {at})"
    );
    database.execute(&event).await;
    let body = database.either("x'7b7d'", "'{}'");
    for (n, source) in sources.iter().enumerate() {
        let id = seq * 1024 + i64::try_from(n).unwrap();
        let observation = format!(
            "INSERT INTO observation (id, source, result, at, body) VALUES ({id}, '{source}', 'recorded', {at}, {body})"
        );
        database.execute(&observation).await;
    }
}

#[tokio::test]
async fn only_outcomes_that_no_callback_told_of_count_and_only_if_they_are_the_newest() {
    let home = TestStore::new();
    let store = Store::open(home.url()).await.unwrap();
    let database = home.connect().await;
    let until = Timestamp::from_millis(0).after(Duration::from_secs(1000));
    let find = async |outcomes, until| store.find_untold(outcomes, until).await.unwrap();
    assert_eq!(find(1, until).await, Finding::TooFew, "an empty store");
    tell(
        &database,
        1,
        "task.completed",
        "'callback'",
        &["submit", "callback"],
    )
    .await;
    tell(
        &database,
        2,
        "task.completed",
        "'poll'",
        &["submit", "poll"],
    )
    .await;
    tell(&database, 3, "task.submitted", "'submit'", &["submit"]).await;
    tell(&database, 4, "task.failed", "'poll'", &["submit", "poll"]).await;
    // Events of an operator or of the archive do not count.
    tell(&database, 5, "task.completed", "'replay'", &["replay"]).await;
    tell(&database, 6, "task.archived", "NULL", &[]).await;
    let untold = Finding::Untold(Untold {
        outcomes: 2,
        since: Timestamp::from_millis(2000),
    });
    assert_eq!(find(2, until).await, untold);
    let third = find(3, until).await;
    assert_eq!(third, Finding::Reported, "a callback told of the third");
    // A poll confirmed it late, after a callback had reported it.
    tell(
        &database,
        7,
        "task.completed",
        "'poll'",
        &["submit", "poll", "callback"],
    )
    .await;
    assert_eq!(find(2, until).await, Finding::Reported);
    let before = Timestamp::from_millis(6000);
    assert_eq!(find(2, before).await, untold, "it may still be told");
    // Many other events since, as on a busy service.
    for seq in 8..400 {
        tell(&database, seq, "task.submitted", "'submit'", &[]).await;
    }
    assert_eq!(find(2, before).await, untold);
    database.close().await;
    store.close().await;
}
