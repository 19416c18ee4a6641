//! A file of the store is deleted or replaced while the service runs. From then on nothing is
//! acknowledged and no submit is sent. The process exits with code 75 and a line that says what
//! happened.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::campaign::{random, rounds};
use crate::support::process::load::Load;
use crate::support::process::{Place, Receiver};
use crate::support::store::check;
use crate::support::until::until;

/// What happens to the data folder, and the words of the line that reports it.
struct Form {
    name: &'static str,
    happens: fn(&Place),
    said: &'static str,
}

const FORMS: [Form; 11] = [
    Form {
        name: "the folder is deleted",
        happens: |place| fs::remove_dir_all(place.data()).unwrap(),
        said: "receiver.db was deleted",
    },
    Form {
        name: "the folder is renamed",
        happens: |place| fs::rename(place.data(), place.data().with_extension("aside")).unwrap(),
        said: "receiver.db was deleted",
    },
    Form {
        name: "the database is deleted",
        happens: |place| fs::remove_file(place.database()).unwrap(),
        said: "receiver.db was deleted",
    },
    Form {
        name: "mv of another file over the database",
        happens: |place| run("mv", &older(place), &place.database()),
        said: "receiver.db was replaced",
    },
    Form {
        name: "cp of an older file over the database",
        happens: |place| run("cp", &older(place), &place.database()),
        said: "receiver.db was overwritten",
    },
    Form {
        name: "the database is emptied",
        happens: |place| fs::write(place.database(), "").unwrap(),
        said: "receiver.db was overwritten",
    },
    Form {
        name: "the log is deleted",
        happens: |place| fs::remove_file(place.data().join("receiver.db-wal")).unwrap(),
        said: "receiver.db-wal was deleted",
    },
    Form {
        name: "mv of another log over the log",
        happens: |place| {
            let log = place.data().join("receiver.db-wal");
            fs::copy(&log, place.data().join("copy")).unwrap();
            run("mv", &place.data().join("copy"), &log);
        },
        said: "receiver.db-wal was replaced",
    },
    Form {
        name: "the log is overwritten",
        happens: |place| fs::write(place.data().join("receiver.db-wal"), [0x5a; 9000]).unwrap(),
        said: "receiver.db-wal was overwritten",
    },
    Form {
        name: "the log is emptied",
        happens: |place| fs::write(place.data().join("receiver.db-wal"), "").unwrap(),
        said: "receiver.db-wal was overwritten",
    },
    Form {
        name: "the log's index is deleted",
        happens: |place| fs::remove_file(place.data().join("receiver.db-shm")).unwrap(),
        said: "receiver.db-shm was deleted",
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_once_a_file_of_the_store_is_not_the_one_that_is_open() {
    for form in FORMS {
        let place = Place::new();
        let mut receiver = started_with_an_older_copy(&place).await;
        (form.happens)(&place);
        for number in 0..5 {
            let body = format!(r#"{{"id":"task-after-{number}","status":"processing"}}"#);
            let answer = receiver.callback(body).await;
            let status = answer.map(|(status, _)| status);
            assert!(
                matches!(status, None | Some(503)),
                "{}: {status:?}",
                form.name
            );
            // A submit that goes out to EvoLink, which does not exist here, would have been paid
            // for.
            let submitted = receiver.submit().await.map(|(_, code)| code);
            let is_sent = submitted.as_deref() == Some("evolink_unreachable");
            assert!(!is_sent, "{}: a submit was sent", form.name);
        }
        assert_ended(&mut receiver, &form).await;
    }
}

/// The replacement is noticed without any request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_service_ends_when_a_file_of_its_store_is_not_the_one_that_is_open() {
    for form in FORMS {
        let place = Place::new();
        let mut receiver = started_with_an_older_copy(&place).await;
        (form.happens)(&place);
        assert_ended(&mut receiver, &form).await;
    }
}

/// The file that was open is put back: it contains every acknowledged callback.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_moved_away_under_load_and_put_back_has_all_that_was_acknowledged() {
    let (place, load) = (Place::new(), Load::new());
    let aside = place.data().join("aside");
    for round in 1..=rounds(3, 30) {
        let mut receiver = place.start().await;
        let running = load.start(&receiver);
        running.reached(40).await;
        fs::rename(place.database(), &aside).unwrap();
        fs::write(place.database(), "").unwrap();
        assert_eq!(receiver.ended().await.code(), Some(75));
        running.stop().await;
        fs::rename(&aside, place.database()).unwrap();
        let receiver = place.start().await;
        let faults = check::faults(place.store(), &load.acknowledged()).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
        receiver.stop().await;
    }
}

/// A real `cp` overwrites the open file at a random moment. The process exits, and the next start
/// does not serve a store that has lost data. A checkpoint in progress may write every page again
/// that the copy lacks. Then nothing is lost, and the process may go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_over_the_database_under_load_is_noticed_or_undone_and_nothing_is_lost() {
    let mut random = random();
    let (rounds, mut unnoticed) = (rounds(5, 50), 0);
    for round in 1..=rounds {
        let (place, load) = (Place::new(), Load::new());
        let mut receiver = started_with_an_older_copy(&place).await;
        let running = load.start(&receiver);
        running.reached(20 + random.usize(..60)).await;
        run("cp", &older(&place), &place.database());
        // Each callback is acknowledged after a look at the files.
        let enough = running.count() + 400;
        until("the end, or a service that goes on", || {
            !receiver.is_running() || running.count() >= enough
        })
        .await;
        running.stop().await;
        if receiver.is_running() {
            unnoticed += 1;
            receiver.stop().await;
            let faults = check::faults(place.store(), &load.acknowledged()).await;
            assert!(faults.is_empty(), "round {round}: {faults:#?}");
        } else {
            let log = receiver.log_tail();
            assert_eq!(receiver.ended().await.code(), Some(75), "{log}");
        }
        let found = place.check_of_store();
        match place.try_start().await {
            Err(refusal) => {
                assert!(
                    refusal.contains("exit status: 65"),
                    "round {round}: {refusal}"
                );
                assert!(found.starts_with("error"), "round {round}: {found}");
            }
            Ok(_receiver) => {
                assert!(found.starts_with("ok"), "round {round}: {found}");
                let faults = check::faults(place.store(), &load.acknowledged()).await;
                assert!(faults.is_empty(), "round {round}: {faults:#?}");
            }
        }
    }
    println!("{unnoticed} of {rounds} were undone");
    assert!(unnoticed < rounds, "none was noticed");
}

/// Rows that were acknowledged after the last mark are only in the log. The process raises the mark
/// before it exits, so that the next start misses them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_lost_under_load_is_put_back_or_the_next_start_is_refused() {
    for form in ["deleted", "moved", "emptied"] {
        for round in 1..=rounds(2, 20) {
            let place = Place::new();
            let log = place.data().join("receiver.db-wal");
            let aside = place.data().join("aside");
            // The mark was just written, and the next one is due in a second.
            let mut receiver = started_with_an_older_copy(&place).await;
            for number in 0..3 {
                let body = format!(r#"{{"id":"task-unmarked-{number}","status":"processing"}}"#);
                assert_eq!(receiver.callback(body).await, Some((200, None)));
            }
            match form {
                "deleted" => fs::remove_file(&log).unwrap(),
                "moved" => fs::rename(&log, &aside).unwrap(),
                _ => fs::write(&log, "").unwrap(),
            }
            assert_eq!(receiver.ended().await.code(), Some(75));
            if let Err(refusal) = place.try_start().await {
                let found = place.check_of_store();
                for said in [&refusal, &found] {
                    let names_it = said.contains("write-ahead log (-wal)");
                    assert!(names_it, "{form}, round {round}: {said}");
                }
                assert!(refusal.contains("exit status: 65"), "{form}: {refusal}");
                if form != "moved" {
                    continue;
                }
                fs::rename(&aside, &log).unwrap();
                drop(place.start().await);
            }
            let receiver = place.start().await;
            for number in 0..3 {
                let path = format!("/v1/tasks/task-unmarked-{number}");
                let status = receiver.status(&path).await;
                assert_eq!(status, Some(200), "{form}, round {round}");
            }
        }
    }
}

/// The operator puts another database and its mark into the folder. Its mark is not overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mark_of_another_database_that_was_put_in_place_is_left_as_it_is() {
    let place = Place::new();
    let mut receiver = started_with_an_older_copy(&place).await;
    let mark = place.data().join("receiver.db.mark");
    let other = r#"{"newest_task":1,"newest_event":1,"log":"folded_in"}"#;
    let body = r#"{"id":"task-unmarked","status":"processing"}"#;
    assert_eq!(receiver.callback(body.to_owned()).await, Some((200, None)));
    receiver.freeze();
    fs::remove_file(place.data().join("receiver.db-wal")).unwrap();
    fs::write(&mark, other).unwrap();
    run("mv", &older(&place), &place.database());
    receiver.thaw();
    assert_eq!(receiver.ended().await.code(), Some(75));
    assert_eq!(fs::read_to_string(&mark).unwrap(), other);
}

/// The configured path leads to another file, and the open one is where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linked_data_folder_that_leads_elsewhere_ends_the_service() {
    let place = Place::new();
    let beside = |name: &str| place.data().with_file_name(name);
    fs::create_dir_all(place.data()).unwrap();
    fs::rename(place.data(), beside("real")).unwrap();
    symlink("real", place.data()).unwrap();
    let mut receiver = started_with_an_older_copy(&place).await;
    let copied = Command::new("cp")
        .arg("-a")
        .args([beside("real"), beside("copy")])
        .status();
    assert!(copied.unwrap().success());
    symlink("copy", beside("link")).unwrap();
    fs::rename(beside("link"), place.data()).unwrap();
    for number in 0..5 {
        let body = format!(r#"{{"id":"task-after-{number}","status":"processing"}}"#);
        let status = receiver.callback(body).await.map(|(status, _)| status);
        assert!(matches!(status, None | Some(503)), "{status:?}");
    }
    let form = Form {
        name: "the link leads elsewhere",
        happens: |_| {},
        said: "data/receiver.db was replaced",
    };
    assert_ended(&mut receiver, &form).await;
}

/// A stop that comes before the next check must not checkpoint the log of one file into another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_right_after_the_database_was_replaced_leaves_both_files_as_they_are() {
    let place = Place::new();
    let mut receiver = started_with_an_older_copy(&place).await;
    let aside = place.data().join("aside");
    let other = fs::read(older(&place)).unwrap();
    receiver.freeze();
    fs::rename(place.database(), &aside).unwrap();
    fs::write(place.database(), &other).unwrap();
    receiver.terminate();
    receiver.thaw();
    assert_eq!(
        receiver.ended().await.code(),
        Some(75),
        "{}",
        receiver.log()
    );
    assert!(fs::read(place.database()).unwrap() == other);
    fs::rename(&aside, place.database()).unwrap();
    let receiver = place.start().await;
    assert_eq!(receiver.status("/v1/tasks/task-last").await, Some(200));
}

/// A second program that uses SQLite may checkpoint the database. That is no fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_another_program_is_no_fault() {
    let (place, load) = (Place::new(), Load::new());
    let receiver = place.start().await;
    let running = load.start(&receiver);
    let shell = place.store().connect().await;
    for round in 1..=20 {
        running.reached(round * 10).await;
        let kind = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][round % 4];
        // A busy database is acceptable here.
        let _ = shell
            .try_execute(&format!("PRAGMA wal_checkpoint({kind})"))
            .await;
    }
    shell.close().await;
    running.reached(400).await;
    running.stop().await;
    receiver.stop().await;
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Starts a receiver, and keeps a copy of its database from before its last callbacks.
async fn started_with_an_older_copy(place: &Place) -> Receiver {
    let load = Load::new();
    let receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(40).await;
    running.stop().await;
    receiver.stop().await;
    fs::copy(place.database(), older(place)).unwrap();
    let receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(40).await;
    running.stop().await;
    let mark = place.data().join("receiver.db.mark");
    let before = fs::read(&mark).unwrap();
    let body = r#"{"id":"task-last","status":"processing"}"#;
    assert_eq!(receiver.callback(body.to_owned()).await, Some((200, None)));
    until("the mark", || {
        fs::read(&mark).is_ok_and(|now| now != before)
    })
    .await;
    receiver
}

async fn assert_ended(receiver: &mut Receiver, form: &Form) {
    let status = receiver.ended().await;
    let log = receiver.log();
    assert_eq!(status.code(), Some(75), "{}: {log}", form.name);
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(form.said), "{}: {last}", form.name);
}

fn older(place: &Place) -> std::path::PathBuf {
    place.data().join("older")
}

fn run(command: &str, from: &Path, to: &Path) {
    let status = Command::new(command).arg(from).arg(to).status();
    assert!(status.unwrap().success(), "{command}");
}
