//! The files of a SQLite store contain prompts and bodies, so only the user that runs the receiver
//! may read them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::until::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_beside_a_database_are_readable_by_their_owner_only() {
    let place = Place::new();
    let receiver = place.start().await;
    let load = Load::new();
    let running = load.start(&receiver);
    running.reached(20).await;
    running.stop().await;
    let all = ["", "-wal", "-shm", ".lock", ".mark", ".ballast"];
    for suffix in all {
        let path = place.data().join(format!("receiver.db{suffix}"));
        until(suffix, || path.exists()).await;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}
