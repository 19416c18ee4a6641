//! A sync of the disk fails (I4). From then on no callback is acknowledged until the program
//! restarts and reads what is really on the disk.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::campaign::{random, rounds};
use crate::support::machine::needs::{self, Root};
use crate::support::process::load::Load;
use crate::support::process::{Place, Receiver};
use crate::support::store::check;
use crate::support::until::PATIENCE;

/// Makes the syncs of a process fail until it is dropped.
struct FailingSync(Child);

impl FailingSync {
    /// Returns `None`, after printing one line, if processes cannot be traced here.
    async fn attach(pid: u32, which: &str, place: &Place) -> Option<Self> {
        let report = place.data().join("strace");
        let mut strace = Command::new("strace")
            .args(["-f", "-e", "trace=fsync,fdatasync"])
            .arg("-P")
            .arg(place.database())
            .arg("-P")
            .arg(place.database().with_extension("db-wal"))
            .arg(format!("--inject=fsync,fdatasync:error=EIO:when={which}"))
            .args(["-p", &pid.to_string()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&report).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(&report).unwrap();
            if said.contains("(INJECTED)") {
                return Some(Self(strace));
            }
            if strace.try_wait().unwrap().is_some() {
                needs::skip(&format!("strace cannot attach here: {said}"));
                return None;
            }
            assert!(Instant::now() < deadline, "no sync fails: {said}");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for FailingSync {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_nothing_is_acknowledged_until_a_restart() {
    if !needs::are_met(Root::NotNeeded, &["strace"]) {
        return;
    }
    let mut random = random();
    let place = Place::new();
    let load = Load::new();
    for round in 1..=rounds(4, 40) {
        let mut receiver = place.start().await;
        let running = load.start(&receiver);
        running.reached(20).await;
        sleep(Duration::from_micros(random.u64(..50_000))).await;
        // Either all syncs fail or only one. A later sync that succeeds does not prove that the
        // earlier writes reached the disk (F6).
        let which = if round % 2 == 0 { "1" } else { "1+" };
        let Some(failing) = FailingSync::attach(receiver.pid(), which, &place).await else {
            return;
        };
        let start = Instant::now();
        refuses_until_gone(&mut receiver, round).await;
        println!(
            "round {round}: gone {:?} after a sync failed",
            start.elapsed()
        );
        let status = receiver.ended().await;
        assert_eq!(status.code(), Some(75), "{}", receiver.log_tail());
        running.stop().await;
        drop(failing);
        let _receiver = place.start().await;
        let faults = check::faults(place.store(), &load.acknowledged()).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
}

/// Asserts that no callback sent after the first failed sync is acknowledged, and that `/readyz`
/// does not answer 200.
async fn refuses_until_gone(receiver: &mut Receiver, round: u32) {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let id = format!("task-too-late-{round}-{number}");
        let body = format!(r#"{{"id":"{id}","status":"processing"}}"#);
        let status = receiver.callback(body).await.map(|(status, _)| status);
        assert!(matches!(status, None | Some(503)), "{status:?}");
        let ready = receiver.status("/readyz").await;
        assert!(
            matches!(ready, None | Some(503)),
            "{ready:?}: the disk failed"
        );
        if !receiver.is_running() {
            return;
        }
        assert!(Instant::now() < deadline, "{}", receiver.log_tail());
    }
}
