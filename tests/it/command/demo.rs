//! The demo as a newcomer runs it: the binary, without any setup.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The binary with an empty environment, and its folder for temporary files in `temporary`.
fn demo(temporary: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    command
        .arg("demo")
        .args(args)
        .env_clear()
        .env("TMPDIR", temporary);
    command
}

fn summary(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

#[test]
fn a_run_ends_with_a_summary_of_each_trouble_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path(), &["--once", "--json"])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(
        stderr, "",
        "a demo that goes well has nothing to complain of"
    );
    let first = stdout.lines().next().unwrap();
    assert!(first.starts_with("dashboard  http://127.0.0.1:"), "{first}");
    let summary = summary(stdout.lines().last().unwrap());
    for (field, expected) in [
        ("tasks", 8),
        ("completed", 7),
        ("failed", 1),
        ("charges", 8),
    ] {
        assert_eq!(summary[field], expected, "{field}: {summary}");
    }
    // On a slow machine a poll may overtake a callback, or a callback may be repeated. Then there
    // are more.
    for field in [
        "found_by_poll",
        "duplicates",
        "early_callbacks",
        "elapsed_ms",
    ] {
        assert!(summary[field].as_u64().unwrap() >= 1, "{field}: {summary}");
    }
    assert_eq!(summary.as_object().unwrap().len(), 8, "{summary}");
    for row in [
        "a lighthouse    fails",
        "a cute cat      lost callback",
        "a rainy market  callback twice",
        "a paper boat    early callback",
    ] {
        assert!(stdout.contains(row), "{row}: {stdout}");
    }
    assert!(
        !stdout.contains("curl"),
        "nothing is left to be asked: {stdout}"
    );
    assert!(is_empty(temporary.path()));
}

#[test]
fn fewer_tasks_show_fewer_troubles_and_a_named_folder_keeps_its_data() {
    let (temporary, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = data.path().join("new");
    for run in 1..=2 {
        let args = ["--once", "--json", "--tasks", "1", "--data-dir"];
        let output = demo(temporary.path(), &args).arg(&folder).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "run {run}: {stdout}");
        let summary = summary(stdout.lines().last().unwrap());
        // The second run does not count the tasks of the first one.
        assert_eq!(
            (&summary["tasks"], &summary["failed"], &summary["charges"]),
            (&1.into(), &1.into(), &1.into()),
            "run {run}: {summary}"
        );
    }
    assert!(folder.join("receiver.db").exists());
    assert!(is_empty(temporary.path()));
}

#[test]
fn without_once_it_can_be_asked_until_it_is_interrupted() {
    let temporary = tempfile::tempdir().unwrap();
    let mut running = demo(temporary.path(), &["--json", "--tasks", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut url = None;
    let last = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, rest)) = line.split_once("The internal API is at ") {
            url = rest.split_once(". ").map(|(url, _)| url.to_owned());
        }
        if line.starts_with('{') {
            break line;
        }
    };
    assert_eq!(summary(&last)["tasks"], 3);
    let listed = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"))
        .args(["tasks", "list", "--json", "--url", &url.unwrap()])
        .env_clear()
        .output()
        .unwrap();
    let page = summary(std::str::from_utf8(&listed.stdout).unwrap());
    assert_eq!(page["data"].as_array().unwrap().len(), 3);
    kill_process(Pid::from_child(&running), Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert!(lines.next().is_none(), "the summary is the last line");
    assert!(is_empty(temporary.path()));
}
