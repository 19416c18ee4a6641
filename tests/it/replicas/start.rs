//! A replica may join if it has the key ring of the running ones. Replicas may also start at the
//! same time.

use std::fs;
use std::path::{Path, PathBuf};

use evolink_receiver::app::App;
use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::exit::{CommandError, Exit};
use evolink_receiver::store::Store;
use futures_util::future::join_all;

use super::three::completed;
use crate::support::app::TestAppBuilder;
use crate::support::store::TestStore;

const KEY: &str = "callback_tokens.key_file";

fn builder() -> Option<TestAppBuilder> {
    let store = TestStore::on_postgres()?;
    Some(TestAppBuilder::new(tempfile::tempdir().unwrap(), store))
}

/// A line of a key ring with an id of its own.
fn fresh_key() -> String {
    KeyRing::generate().unwrap()
}

/// Writes a ring of these lines to a file.
fn ring(folder: &Path, name: &str, lines: &[&str]) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, lines.concat()).unwrap();
    file
}

fn with_ring(builder: &TestAppBuilder, file: &Path) -> TestAppBuilder {
    let file = file.to_owned();
    builder
        .clone()
        .with(|config| config.callback_tokens.key_file = file)
}

/// The message of a start that is refused because of its ring. It shows nothing of the ring.
fn refusal(built: Result<App, CommandError>, line: &str) -> String {
    let refused = built.err().expect("it is refused");
    assert_eq!(refused.exit, Exit::Config, "{refused}");
    let message = refused.to_string();
    assert!(message.starts_with(KEY), "{message}");
    let secret = line.split_whitespace().nth(1).unwrap();
    assert!(!message.contains(secret), "{message}");
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_at_once_on_an_empty_database_all_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = ring(folder.path(), "ring", &[&fresh_key()]);
    for _ in 0..3 {
        let Some(builder) = builder() else { return };
        let builder = with_ring(&builder, &file);
        for built in join_all((0..6).map(|_| builder.try_build())).await {
            assert!(built.is_ok(), "{}", built.err().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_with_rings_of_their_own_that_start_at_once_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let Some(builder) = builder() else { return };
        // The schema exists already, so that the replicas compete where the keys are compared.
        let lines = [fresh_key(), fresh_key()];
        let store = Store::open(builder.store.url()).await.unwrap();
        store.close().await;
        let rings = lines.each_ref().map(|line| {
            let name = line.split_whitespace().next().unwrap();
            with_ring(&builder, &ring(folder.path(), name, &[line]))
        });
        let (one, other) = tokio::join!(rings[0].try_build(), rings[1].try_build());
        let (refused, line) = match (one, other) {
            (Ok(_), refused) => (refused, &lines[1]),
            (refused, Ok(_)) => (refused, &lines[0]),
            (Err(one), Err(other)) => panic!("both are refused: {one}; {other}"),
        };
        refusal(refused, line);
    }
}

#[tokio::test]
async fn a_ring_that_the_others_do_not_know_is_refused() {
    let Some(builder) = builder() else { return };
    let folder = tempfile::tempdir().unwrap();
    let known = fresh_key();
    let file = ring(folder.path(), "known", &[&known]);
    let app = with_ring(&builder, &file).start().await;

    let strange = fresh_key();
    let file = ring(folder.path(), "strange", &[&strange]);
    refusal(with_ring(&builder, &file).try_build().await, &strange);

    // The id of the known key with the secret of the unknown one.
    let (id, _) = known.split_once(' ').unwrap();
    let (_, secret) = strange.split_once(' ').unwrap();
    let forged = format!("{id} {secret}");
    let file = ring(folder.path(), "forged", &[&forged]);
    let message = refusal(with_ring(&builder, &file).try_build().await, &forged);
    assert!(message.contains(id), "it says which: {message}");

    // The refused replicas left no trace, so the first one may start again.
    app.stop().await.1.start().await;
}

#[tokio::test]
async fn a_rotated_ring_joins_and_each_takes_the_tokens_of_the_old_key() {
    let Some(builder) = builder() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (fresh_key(), fresh_key());
    let file = ring(folder.path(), "old", &[&old]);
    let first = with_ring(&builder, &file).start().await;
    // The new key is first added everywhere as the second of the ring, and made the first one only
    // afterwards.
    let file = ring(folder.path(), "both", &[&old, &new]);
    let second = with_ring(&builder, &file).start().await;
    let (_, first) = first.stop().await;
    let first = with_ring(&first, &file).start().await;
    let file = ring(folder.path(), "rotated", &[&new, &old]);
    let third = with_ring(&builder, &file).start().await;
    let apps = [&first, &second, &third];
    for (number, minted) in apps.into_iter().enumerate() {
        let subject = Subject::Standing("shop".parse().unwrap());
        let token = minted.token(&subject);
        let body = completed(&format!("task-unified-1757165031-rotated{number}"));
        let results = [
            first.callback_result(&token, body.clone()).await,
            second.callback_result(&token, body.clone()).await,
            third.callback_result(&token, body).await,
        ];
        assert_eq!(results, ["recorded", "duplicate", "duplicate"]);
    }
    assert_ne!(
        first.standing_token("shop"),
        third.standing_token("shop"),
        "another key made it"
    );
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_named_without_the_password() {
    let Some(builder) = builder() else { return };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let url = format!("postgres://receiver:canary-password@127.0.0.1:{port}/tasks");
    let builder = builder.with(|config| config.store.url = url);
    let refused = builder.try_build().await.err().expect("it is refused");
    assert_eq!(refused.exit, Exit::Unavailable, "{refused}");
    let message = refused.to_string();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
    assert!(!message.contains("canary"), "{message}");
    assert!(!format!("{:?}", builder.config).contains("canary"));
}

/// Hides the newest migrations from whoever looks first, as if they had been applied between two
/// looks.
const APPLIED_BETWEEN_TWO_LOOKS: &str = "ALTER TABLE _sqlx_migrations RENAME TO applied;
    CREATE SEQUENCE looks;
    CREATE VIEW _sqlx_migrations AS SELECT * FROM applied
        WHERE version <= CASE (SELECT nextval('looks')) WHEN 1 THEN 3 ELSE 1000 END";

#[tokio::test]
async fn what_another_replica_creates_while_the_database_is_examined_is_not_another_programs() {
    let Some(home) = TestStore::on_postgres() else {
        return;
    };
    Store::open(home.url()).await.unwrap().close().await;
    let database = home.connect().await;
    database.execute(APPLIED_BETWEEN_TWO_LOOKS).await;
    let opened = Store::open(home.url()).await;
    opened.unwrap().close().await;
    let looks: i64 = database.value("SELECT last_value FROM looks", &[]).await;
    assert!(looks > 1, "it looked again");
    database.close().await;
}
