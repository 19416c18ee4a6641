//! A sync of the disk fails (I4). From then on nothing is acknowledged, until the program was started anew and read from the
//! disk what is there.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::load::Load;
use super::receiver::{PATIENCE, Place};
use super::{check, random, rounds};
use crate::support::needs::{self, Root};

/// Makes each sync of a process fail from now on; gone when dropped.
struct FailingSync(Child);

impl FailingSync {
    /// `None`, said in one line, if processes may not be traced here.
    async fn attach(pid: u32, place: &Place) -> Option<Self> {
        let report = place.data().join("strace");
        let mut strace = Command::new("strace")
            .args(["-f", "-e", "trace=fsync,fdatasync"])
            .args(["-e", "inject=fsync,fdatasync:error=EIO:when=1+"])
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
        let Some(failing) = FailingSync::attach(receiver.pid(), &place).await else {
            return;
        };
        // An answer that was on its way when the first sync failed may still arrive; then there are no more.
        let start = Instant::now();
        let mut acknowledged = running.count();
        let mut not_ready = false;
        while receiver.is_running() {
            sleep(Duration::from_millis(50)).await;
            not_ready |= receiver.status("/readyz").await != Some(200);
            assert!(not_ready, "ready though the disk failed");
            if start.elapsed() > Duration::from_millis(500) {
                assert_eq!(running.count(), acknowledged, "{}", receiver.log_tail());
            }
            acknowledged = running.count();
        }
        let status = receiver.ended().await;
        println!(
            "round {round}: gone {:?} after the first failed sync",
            start.elapsed()
        );
        assert_eq!(status.code(), Some(75), "{}", receiver.log_tail());
        running.stop().await;
        drop(failing);
        let _receiver = place.start().await;
        let faults = check::faults(&place.database(), &load.acknowledged()).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
}
