//! A start on a full disk: it writes nothing until it has freed space, checkpoints the log into the
//! database, and answers callbacks with 503 until there is space.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tokio::time::Instant;

use super::full::{assert_kept, fill_by_callbacks, recorded_again};
use crate::support::process::Receiver;
use crate::support::process::disk::Disk;
use crate::support::process::filler::fill;
use crate::support::process::load::Load;
use crate::support::store::check;
use crate::support::until::PATIENCE;

/// Holds a read transaction of the database open until its standard input is closed.
const READER: &str = "import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute('BEGIN')
database.execute('SELECT count(*) FROM task').fetchone()
print('reading', flush=True)
sys.stdin.read()";

/// The reserve is used up, and another file takes all remaining space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_full_disk_without_a_reserve_answers_503_until_there_is_space() {
    let Some((_disk, place)) = Disk::with_whole_pages("16M") else {
        return;
    };
    let load = Load::new();
    let mut receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(50).await;
    running.stop().await;
    let known = load.acknowledged()[0].clone();
    let filler = place.data().join("filler");
    fill(&filler);
    fill_by_callbacks(&receiver, 1).await;
    fill(&filler);
    receiver.kill();
    fill(&filler);
    assert!(!place.data().join("receiver.db.ballast").exists());
    let mut kept = Vec::new();
    for round in 2..=4 {
        let mut receiver = place.start_unready().await;
        // The start has checkpointed the log, which freed some space.
        fill(&filler);
        let mut sent = fill_by_callbacks(&receiver, round).await;
        sent.pop();
        kept.extend(sent);
        let path = format!("/v1/tasks/{}", known.task_id);
        let status = receiver.status(&path).await;
        assert_eq!(status, Some(200), "{}", receiver.log_tail());
        receiver.kill();
        fill(&filler);
    }
    let receiver = place.start_unready().await;
    std::fs::remove_file(&filler).unwrap();
    recorded_again(&receiver, "task-after").await;
    receiver.stop().await;
    assert_kept(&place, &kept).await;
    let _receiver = place.start().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Nothing of the store fits on the disk.
#[tokio::test]
async fn a_first_start_on_a_full_disk_is_refused_by_check_too_and_leaves_no_draft() {
    let Some((_disk, place)) = Disk::with_whole_pages("16M") else {
        return;
    };
    let filler = place.data().join("filler");
    fill(&filler);
    let found = place.check_of_store();
    assert!(found.starts_with("error   store.url: "), "{found}");
    assert!(found.contains("the disk is full"), "{found}");
    let ended = place.run_to_end().await;
    assert_eq!(ended.status.code(), Some(75), "{ended:?}");
    let names = std::fs::read_dir(place.data()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    let is_draft = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".draft");
    assert!(!names.iter().any(is_draft), "{names:?}");
    // The start has made an empty file.
    let found = place.check_of_store();
    assert!(found.starts_with("error   store.url: "), "{found}");
    std::fs::remove_file(&filler).unwrap();
    let found = place.check_of_store();
    assert!(!found.starts_with("error"), "{found}");
    place.start().await.stop().await;
}

/// SQLite says only that it cannot open the database.
#[tokio::test]
async fn a_start_without_an_inode_says_so_and_may_be_tried_again() {
    let Some((_disk, place)) = Disk::with_place_for_files("16M", 20) else {
        return;
    };
    for start in ["first", "next"] {
        let names = (0..20).map(|number| place.data().join(format!("filler-{number}")));
        let fillers: Vec<PathBuf> = names
            .take_while(|name| File::create(name).is_ok())
            .collect();
        assert!(fillers.len() < 20, "there are 20 files at most");
        let found = place.check_of_store();
        let ended = place.run_to_end().await;
        let line = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(75), "{start}: {line}");
        for said in [&found, &line] {
            let says = "no inode is left on the file system of ";
            assert!(said.contains(says), "{start}: {said}");
        }
        for name in &fillers {
            std::fs::remove_file(name).unwrap();
        }
        place.start().await.stop().await;
    }
}

/// Only the log itself has filled the volume, because a reader kept it from starting over. The
/// reader ends with the process, so the next start recovers without any manual cleanup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_its_own_log_has_filled_recovers_at_the_next_start() {
    let Some((disk, place)) = Disk::with_whole_pages("16M") else {
        return;
    };
    let load = Load::new();
    let mut receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(50).await;
    running.stop().await;
    let mut reader = Reader::start(&disk);
    let before_kill = fill_log(&receiver).await;
    reader.end();
    receiver.kill();
    let log = place.data().join("receiver.db-wal");
    let bytes = std::fs::metadata(&log).unwrap().len();
    println!("{before_kill} callbacks were acknowledged; the log has {bytes} bytes");
    assert!(bytes > 8 * 1024 * 1024, "the log has {bytes} bytes");
    let receiver = place.start_unready().await;
    recorded_again(&receiver, "task-after").await;
    let bytes = std::fs::metadata(&log).unwrap().len();
    assert!(bytes < 8 * 1024 * 1024, "the log still has {bytes} bytes");
    receiver.stop().await;
    let _receiver = place.start().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The same without a restart: the reader ends, and the running process checkpoints its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_its_own_log_has_filled_recovers_without_a_restart() {
    let Some((disk, place)) = Disk::with_whole_pages("16M") else {
        return;
    };
    let receiver = place.start().await;
    let body = r#"{"id":"task-first","status":"processing"}"#;
    assert_eq!(receiver.callback(body.to_owned()).await, Some((200, None)));
    let mut reader = Reader::start(&disk);
    fill_log(&receiver).await;
    reader.end();
    recorded_again(&receiver, "task-after").await;
    receiver.stop().await;
}

/// Sends repeats for a few tasks, whose rows change in place. So the log grows while the database
/// hardly does.
async fn fill_log(receiver: &Receiver) -> u32 {
    let deadline = Instant::now() + 2 * PATIENCE;
    for number in 0.. {
        let progress = number % 100;
        let body = format!(
            r#"{{"id":"task-log-{}","status":"processing","progress":{progress},"n":{number}}}"#,
            number / 500
        );
        match receiver.callback(body).await {
            Some((200, _)) => {}
            Some((503, _)) => return number,
            other => panic!("{other:?}: {}", receiver.log_tail()),
        }
        assert!(
            Instant::now() < deadline,
            "the log does not fill the volume"
        );
    }
    unreachable!()
}

struct Reader(Child);

impl Reader {
    fn start(disk: &Disk) -> Self {
        let mut python = disk.command("python3");
        Self::spawn(python.args(["-c", READER]).arg(disk.path("receiver.db")))
    }

    fn spawn(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "reading\n", "it reads");
        Self(child)
    }

    /// Closes the reader's standard input, and waits until it exits.
    fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
