//! The receiver as its container image runs it: only the data folder is writable. SQLite must not
//! need a temporary file, however many tasks one batch changes.

use futures_util::{StreamExt as _, stream};

use crate::support::machine::needs::{self, Root};
use crate::support::process::{Place, Receiver};
use crate::support::store::check::{self, Acknowledged};

/// Makes the root file system and every folder that SQLite would choose for temporary files
/// read-only, except the data folder.
const READ_ONLY_BUT_DATA: &str = r#"set -e
mount --bind "$0" "$0"
for folder in /tmp /var/tmp /usr/tmp; do
    if [ -d "$folder" ]; then
        mount --rbind "$folder" "$folder"
        mount -o remount,bind,ro "$folder"
    fi
done
mount -o remount,bind,ro /
unset SQLITE_TMPDIR TMPDIR
cd /tmp
! touch /tmp/probe /var/tmp/probe 2>/dev/null
exec "$@""#;

const TASKS: usize = 400;

/// Callbacks at once. A batch then changes far more than 12 tasks, the number from which SQLite
/// writes a statement journal to a file.
const AT_ONCE: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_callbacks_needs_no_temporary_folder() {
    let tools = ["unshare", "mount", "sh"];
    if !needs::are_met(Root::Needed, &tools) {
        return;
    }
    let mut place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    let data = place.data().display().to_string();
    let unshare = ["unshare", "--mount", "--propagation", "private"];
    let launcher = [&unshare[..], &["sh", "-c", READ_ONLY_BUT_DATA, &data]].concat();
    place.launch_through(&launcher);
    let mut receiver = place.start().await;
    let mut acknowledged = send(&receiver, r#""status":"processing""#, false).await;
    acknowledged.extend(send(&receiver, r#""status":"processing","progress":40"#, false).await);
    let completed =
        r#""status":"completed","progress":100,"results":["https://files.evolink.ai/a.webp"]"#;
    acknowledged.extend(send(&receiver, completed, true).await);
    assert!(receiver.is_running(), "{}", receiver.log_tail());
    assert_eq!(acknowledged.len(), 3 * TASKS, "{}", receiver.log_tail());
    let faults = check::faults(place.store(), &acknowledged).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Sends one callback for each task concurrently, and returns those that were answered 200.
async fn send(receiver: &Receiver, members: &str, is_outcome: bool) -> Vec<Acknowledged> {
    let callbacks = (0..TASKS).map(|number| {
        let task_id = format!("task-burst-{number}");
        let body = format!(r#"{{"id":"{task_id}",{members}}}"#);
        async move {
            let answer = receiver.callback(body.clone()).await;
            (answer == Some((200, None))).then_some(Acknowledged {
                task_id,
                body,
                is_outcome,
            })
        }
    });
    let answers = stream::iter(callbacks).buffer_unordered(AT_ONCE);
    answers.filter_map(async |answer| answer).collect().await
}
