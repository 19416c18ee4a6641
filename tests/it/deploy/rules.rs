//! The alert rules and the board, as Prometheus reads them, and the page of each alert.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::machine::needs::{Root, are_met};

const RULES: &str = "deploy/prometheus/alerts.yml";

fn promtool(folder: &Path, args: &[&str]) {
    let mut command = Command::new("promtool");
    let output = command.args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}

#[test]
fn each_alert_fires_on_what_it_is_about_and_is_quiet_otherwise() {
    if !are_met(Root::NotNeeded, &["promtool"]) {
        return;
    }
    let folder = Path::new("deploy/prometheus");
    promtool(folder, &["check", "rules", "alerts.yml"]);
    promtool(folder, &["test", "rules", "alerts.test.yml"]);
    let tests = fs::read_to_string(folder.join("alerts.test.yml")).unwrap();
    for alert in alerts() {
        for story in ["fires", "is quiet"] {
            let name = format!("- name: {alert} {story}\n");
            assert!(tests.contains(&name), "{name} is missing");
        }
    }
}

fn alerts() -> Vec<String> {
    let rules = fs::read_to_string(RULES).unwrap();
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 15, "{names:?}");
    names
}

#[test]
fn each_alert_has_a_page_that_says_what_to_do_and_no_page_is_left_over() {
    let rules = fs::read_to_string(RULES).unwrap();
    let mut named = BTreeSet::new();
    for alert in alerts() {
        let (_, rule) = rules.split_once(&format!("- alert: {alert}\n")).unwrap();
        let (_, url) = rule.split_once("runbook_url: ").unwrap();
        let (_, page) = url.lines().next().unwrap().rsplit_once('/').unwrap();
        let text = fs::read_to_string(format!("docs/runbook/{page}")).unwrap();
        assert!(text.starts_with(&format!("# {alert}\n")), "{page}");
        for heading in ["## What it does to you", "## Look at", "## Do"] {
            assert!(text.contains(heading), "{page}: {heading}");
        }
        named.insert(page.to_owned());
    }
    let pages = fs::read_dir("docs/runbook").unwrap();
    let pages: BTreeSet<String> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(pages, named);
}

#[test]
fn prometheus_can_read_each_query_of_the_board() {
    if !are_met(Root::NotNeeded, &["promtool"]) {
        return;
    }
    let board = fs::read_to_string("deploy/grafana/dashboard.json").unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let mut rules = "groups:\n  - name: board\n    rules:\n".to_owned();
    let mut queries = 0;
    for target in targets {
        let query = target["expr"].as_str().unwrap();
        let query = query.replace("$__rate_interval", "5m");
        let query = serde_json::to_string(&query).unwrap();
        writeln!(rules, "      - {{record: query_{queries}, expr: {query}}}").unwrap();
        queries += 1;
    }
    assert!(queries > 25, "{queries}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("board.yml"), rules).unwrap();
    promtool(folder.path(), &["check", "rules", "board.yml"]);
}
