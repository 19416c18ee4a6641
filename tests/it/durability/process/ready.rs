//! `/readyz` reports whether callbacks can be recorded. It answers 503 while they cannot, also on
//! an idle service, and 200 again soon after.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use tokio::time::{Instant, sleep};

use crate::support::machine::needs::{self, Root};
use crate::support::process::Place;
use crate::support::process::ready::ready_is;
use crate::support::store::is_postgres;
use crate::support::until::PATIENCE;

/// Longer than the test waits for anything.
const HANG: Duration = Duration::from_mins(2);

/// Delays each sync of the database and its log until it is dropped.
struct HangingSync(Child);

impl HangingSync {
    /// Returns `None`, after printing one line, if processes cannot be traced here.
    async fn attach(pid: u32, place: &Place) -> Option<Self> {
        let report = place.data().join("strace");
        let (database, hang) = (place.database(), HANG.as_micros());
        let mut strace = Command::new("strace")
            .args(["-f", "-e", "trace=fsync,fdatasync", "-P"])
            .arg(&database)
            .arg("-P")
            .arg(database.with_extension("db-wal"))
            .arg(format!("--inject=fsync,fdatasync:delay_enter={hang}"))
            .args(["-p", &pid.to_string()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&report).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(&report).unwrap();
            if said.contains("attached") {
                return Some(Self(strace));
            }
            if strace.try_wait().unwrap().is_some() {
                needs::skip(&format!("strace cannot attach here: {said}"));
                return None;
            }
            assert!(Instant::now() < deadline, "strace says nothing: {said}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for HangingSync {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn callback(n: u32) -> String {
    format!(r#"{{"id":"task-ready-{n}","status":"processing"}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_syncs_hang_is_not_ready_until_they_end() {
    if is_postgres() || !needs::are_met(Root::NotNeeded, &["strace"]) {
        return;
    }
    let place = Place::new();
    let receiver = place.start().await;
    assert_eq!(receiver.callback(callback(1)).await, Some((200, None)));
    let Some(hanging) = HangingSync::attach(receiver.pid(), &place).await else {
        return;
    };
    let waiting = async {
        let (status, retry_after) = receiver.callback(callback(2)).await.unwrap();
        assert_eq!((status, retry_after.as_deref()), (503, Some("1")));
    };
    let watching = async {
        let body = ready_is(&receiver, 503).await;
        let reason = body["reason"].as_str().unwrap();
        assert!(
            reason.contains("a lock or the disk holds the store up"),
            "{body}"
        );
        assert_eq!(body["details"]["writer"]["state"], "failing", "{body}");
        assert_eq!(body["details"]["reader"]["state"], "ok", "{body}");
        assert_eq!(receiver.status("/livez").await, Some(200), "it lives");
    };
    tokio::join!(waiting, watching);
    drop(hanging);
    ready_is(&receiver, 200).await;
    assert_eq!(receiver.callback(callback(2)).await, Some((200, None)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_database_another_program_locks_is_not_ready_until_it_lets_go() {
    if is_postgres() {
        return;
    }
    let place = Place::new();
    let receiver = place.start().await;
    for is_idle in [true, false] {
        let mut other = SqliteConnection::connect(place.store().url())
            .await
            .unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut other)
            .await
            .unwrap();
        let sending = async {
            if !is_idle {
                let answer = receiver.callback(callback(3)).await;
                assert_eq!(answer.map(|(status, _)| status), Some(503));
            }
        };
        let (body, ()) = tokio::join!(ready_is(&receiver, 503), sending);
        assert_eq!(body["details"]["writer"]["state"], "failing", "{body}");
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        ready_is(&receiver, 200).await;
        assert_eq!(receiver.callback(callback(3)).await, Some((200, None)));
    }
    let log = receiver.log();
    assert!(log.contains("the store cannot be written"), "{log}");
    assert!(log.contains("the store can be written again"), "{log}");
}

#[tokio::test]
async fn healthcheck_asks_whether_the_service_is_ready_or_whether_it_lives() {
    let place = Place::new();
    let receiver = place.start().await;
    let healthcheck = |more: &'static [&'static str]| {
        let url = format!("http://{}", receiver.internal());
        let mut run = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
        run.args(["healthcheck", "--url", &url]).args(more);
        async move {
            let output = tokio::task::spawn_blocking(move || run.output().unwrap());
            let output = output.await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), said)
        }
    };
    assert_eq!(healthcheck(&[]).await.0, Some(0));
    assert_eq!(healthcheck(&["--live"]).await.0, Some(0));
    let database = place.store().connect().await;
    let hold = database.either(
        "BEGIN IMMEDIATE",
        "BEGIN; SELECT 1 FROM recorder_turn FOR UPDATE",
    );
    database.execute(hold).await;
    ready_is(&receiver, 503).await;
    let (code, said) = healthcheck(&[]).await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("not ready"), "{said}");
    assert_eq!(healthcheck(&["--live"]).await.0, Some(0));
    database.execute("ROLLBACK").await;
}
