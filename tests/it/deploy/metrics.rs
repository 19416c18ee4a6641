//! docs/metrics.md lists the metrics of the program, and the rules and boards use those.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::app::TestApp;
use evolink_receiver::simulator::Options;

const PREFIX: &str = "evolink_receiver_";

/// Name and type of each of our metrics, as the sources declare them: `field: Type = "name", …`. A
/// counter has its `_total`. A metric without a value yet is not in `/metrics`.
fn declared() -> BTreeMap<String, String> {
    let mut metrics = BTreeMap::new();
    for file in fs::read_dir("src/observe/metrics").unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            let Some((declaration, rest)) = line.split_once(" = \"") else {
                continue;
            };
            let Some((field, kind)) = declaration.trim().split_once(": ") else {
                continue;
            };
            let (name, after) = rest.split_once('"').unwrap();
            if !after.starts_with(',') || field.contains(' ') {
                continue;
            }
            let (kind, end) = match kind {
                kind if kind.contains("Counter") => ("counter", "_total"),
                "Durations" | "Histogram" => ("histogram", ""),
                _ => ("gauge", ""),
            };
            metrics.insert(format!("{name}{end}"), kind.to_owned());
        }
    }
    assert!(metrics.len() > 50, "{metrics:?}");
    metrics
}

/// Name and type of each metric that has a value, without our prefix.
fn shown(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let types = types.map(|line| line.split_once(' ').unwrap());
    types
        .map(|(name, kind)| {
            let name = name.strip_prefix(PREFIX).unwrap_or(name);
            let end = if kind == "counter" { "_total" } else { "" };
            (format!("{name}{end}"), kind.to_owned())
        })
        .collect()
}

/// The same, as the tables of the page list them under "Every metric".
fn documented() -> BTreeMap<String, String> {
    let page = fs::read_to_string("docs/metrics.md").unwrap();
    let (_, tables) = page.split_once("## Every metric").unwrap();
    let mut metrics = BTreeMap::new();
    for row in tables.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if matches!(cells[2], "counter" | "gauge" | "histogram") {
            for name in cells[1].split('`').skip(1).step_by(2) {
                metrics.insert(name.to_owned(), cells[2].to_owned());
            }
        }
    }
    metrics
}

#[tokio::test]
async fn the_page_lists_every_metric_with_its_type_and_no_other() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    let answer = app.request(reqwest::Method::GET, "/metrics").send().await;
    let text = answer.unwrap().text().await.unwrap();
    let (mut shown, documented) = (shown(&text), documented());
    shown.extend(declared());
    assert_eq!(shown, documented);
    for series in [
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "evolink_receiver_build_info{version=\"0.1.0\",commit=\"",
        "evolink_receiver_callback_token_keys 1",
        "evolink_receiver_certificate_expiry_timestamp_seconds ",
    ] {
        assert!(text.contains(series), "{series}: {text}");
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn requests_are_measured_by_the_template_of_their_route() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    let task = app.submitted("a cute cat [sim:duration=100ms]").await;
    let id = task["id"].as_str().unwrap();
    app.task_when(id, |task| task["status"] == "completed")
        .await;
    app.get("/v1/nothing/secret-path").await;
    let count = |method: &str, route: &str, status: &str| {
        app.counter(&format!(
            "{PREFIX}http_request_duration_seconds_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        ))
    };
    assert_eq!(count("POST", "/v1/images/generations", "2xx"), 1);
    assert!(count("GET", "/v1/tasks/{id}", "2xx") >= 1);
    assert_eq!(count("GET", "none", "4xx"), 1);
    assert!(count("POST", "/callbacks/{token}", "2xx") >= 1);
    assert!(!app.metrics.render().contains("secret-path"));
    app.stop().await.0.unwrap();
}

/// The names of our metrics in the expressions of rules and boards.
fn used(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices(PREFIX) {
        let name = &text[at + PREFIX.len()..];
        names.insert(name[..name.find(|c| !is_name(c)).unwrap()].to_owned());
    }
    for (at, _) in text.match_indices("process_") {
        if !text[..at].ends_with(|c: char| is_name(c) || c == '/') {
            let name = &text[at..];
            names.insert(name[..name.find(|c| !is_name(c)).unwrap()].to_owned());
        }
    }
    names
}

#[test]
fn rules_boards_and_runbooks_use_metrics_that_there_are() {
    let documented = documented();
    let mut files = vec![
        "deploy/prometheus/alerts.yml".to_owned(),
        "deploy/grafana/dashboard.json".to_owned(),
    ];
    for page in fs::read_dir("docs/runbook").unwrap() {
        files.push(page.unwrap().path().to_str().unwrap().to_owned());
    }
    let mut checked = 0;
    for file in files {
        for name in used(&fs::read_to_string(&file).unwrap()) {
            let parts = ["_bucket", "_count", "_sum"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part));
            let is_there = documented.contains_key(&name)
                || whole.is_some_and(|whole| {
                    documented
                        .get(whole)
                        .is_some_and(|kind| kind == "histogram")
                });
            assert!(is_there, "{file}: {name} is not in docs/metrics.md");
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked}");
}
