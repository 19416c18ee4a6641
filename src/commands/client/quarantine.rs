//! `quarantine`: shows operators what could not be applied, and replays it.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{PAGES_MAX, api, full_page, print_json};
use crate::cli::{QuarantineListArgs, QuarantineReplayArgs, QuarantineShowArgs};
use crate::commands::api::{Api, ReplayAnswer, take_data, text};
use crate::commands::table::{Table, column};
use crate::exit::{CommandError, Exit};
use crate::observe::untrusted::Untrusted;

/// How much of a body is printed, enough to recognise it. `--raw` writes all of it.
const BODY_CHARS_MAX: usize = 4096;

/// Lists a page of entries.
pub async fn list(args: &QuarantineListArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let filters = [("subject", args.subject.clone())];
    let page = full_page(&args.page, &filters, async |query| {
        api.quarantine(&query).await
    });
    page.await?.print(&args.page, out, write_list)
}

/// Shows one entry with its headers and its body.
///
/// # Errors
/// 64 if the raw bytes would go to a terminal, which they could control.
pub async fn show(args: &QuarantineShowArgs, out: &mut impl Write) -> Result<(), CommandError> {
    if args.raw && std::io::stdout().is_terminal() {
        return Err(CommandError::new(
            Exit::Usage,
            "--raw writes the bytes as they came: send them to a file or a pipe",
        ));
    }
    let entry = api(&args.client)?.quarantine_entry(args.id).await?;
    if args.raw {
        let body = text(&entry, "/body_base64").unwrap_or_default();
        let body = BASE64_STANDARD.decode(body);
        let body = body.context("the service's base64 is none")?;
        out.write_all(&body).context("could not write the body")?;
        return Ok(());
    }
    if args.json {
        return print_json(&entry, out);
    }
    write_entry(&entry, out).context("could not print")?;
    Ok(())
}

/// Replays the given entries in order, or all that were never replayed, oldest first.
///
/// # Errors
/// 65 if a body is still not a task. The other entries are replayed all the same.
pub async fn replay(args: &QuarantineReplayArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let ids = if args.all {
        never_replayed(&api).await?
    } else {
        args.ids.clone()
    };
    let mut results: BTreeMap<String, usize> = BTreeMap::new();
    for id in &ids {
        let answer = api.replay(*id).await?;
        let result = answer.result().to_owned();
        write_replay(*id, &answer, args.json, out).context("could not print")?;
        *results.entry(result).or_default() += 1;
    }
    if !args.json {
        write_sum(&results, out).context("could not print")?;
    }
    match results.get("unreadable") {
        Some(unreadable) => Err(CommandError::new(
            Exit::DataErr,
            format!("{unreadable} of {} bodies cannot be read yet", ids.len()),
        )),
        None => Ok(()),
    }
}

/// Returns all entries that were never replayed, oldest first. If two outcomes contradict each
/// other, the one that was received first is then also applied first.
async fn never_replayed(api: &Api) -> Result<Vec<i64>, CommandError> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let mut query = vec![("limit", "200".to_owned())];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = api.quarantine(&query).await?;
        cursor = text(&page, "/next").map(str::to_owned);
        let fresh = take_data(page).into_iter();
        let fresh = fresh.filter(|entry| entry["replayed_at"].is_null());
        ids.extend(fresh.filter_map(|entry| entry["id"].as_i64()));
        if cursor.is_none() {
            break;
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

fn write_list(entries: &[Value], out: &mut impl Write) -> std::io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "nothing is in quarantine");
    }
    let mut table = Table::new([
        column("id").right(),
        column("kind").cut(8),
        column("by the URL of"),
        column("task").drop(5),
        column("since").drop(3),
        column("times").right().drop(2),
        column("bytes").right().drop(1),
        column("replayed").drop(4),
    ]);
    for entry in entries {
        let cell = |pointer| Untrusted(text(entry, pointer).unwrap_or("-")).to_string();
        let number = |name: &str| entry[name].as_i64().unwrap_or_default();
        table.add_row([
            number("id").to_string(),
            cell("/kind"),
            cell("/subject"),
            cell("/task_id"),
            cell("/first_at"),
            (number("repeats") + 1).to_string(),
            number("bytes").to_string(),
            cell("/replay_result"),
        ]);
    }
    table.write(out)
}

fn write_entry(entry: &Value, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{:<11} {}", "entry", entry["id"])?;
    let lines = [
        ("kind", "/kind"),
        ("reason", "/reason"),
        ("by", "/source"),
        ("URL of", "/subject"),
        ("task", "/task_id"),
        ("first", "/first_at"),
        ("last", "/last_at"),
        ("replayed", "/replayed_at"),
        ("result", "/replay_result"),
    ];
    for (label, pointer) in lines {
        if let Some(text) = text(entry, pointer) {
            writeln!(out, "{label:<11} {}", Untrusted(text))?;
        }
    }
    writeln!(out, "{:<11} {}", "repeats", entry["repeats"])?;
    let headers = entry["headers"].as_array().into_iter().flatten();
    for (nth, header) in headers.enumerate() {
        let label = if nth == 0 { "headers" } else { "" };
        let part = |name| Untrusted(text(header, name).unwrap_or_default());
        writeln!(out, "{label:<11} {}: {}", part("/name"), part("/value"))?;
    }
    let id = &entry["id"];
    match text(entry, "/body") {
        Some(body) => writeln!(out, "\n{}", Untrusted::up_to(body, BODY_CHARS_MAX)),
        None => writeln!(
            out,
            "\nnot text: quarantine show {id} --raw writes its bytes"
        ),
    }
}

fn write_replay(
    id: i64,
    answer: &ReplayAnswer,
    json: bool,
    out: &mut impl Write,
) -> std::io::Result<()> {
    match answer {
        ReplayAnswer::Done(body) if json => writeln!(out, "{body}"),
        ReplayAnswer::Done(body) => {
            let task = Untrusted(text(body, "/entry/task_id").unwrap_or("-"));
            writeln!(out, "{id}  {}  {task}", Untrusted(answer.result()))
        }
        ReplayAnswer::Unreadable(reason) if json => {
            let line = json!({"result": "unreadable", "reason": reason, "entry": {"id": id}});
            writeln!(out, "{line}")
        }
        ReplayAnswer::Unreadable(reason) => {
            writeln!(out, "{id}  unreadable  {}", Untrusted(reason))
        }
    }
}

fn write_sum(results: &BTreeMap<String, usize>, out: &mut impl Write) -> std::io::Result<()> {
    if results.is_empty() {
        return writeln!(out, "nothing to replay");
    }
    let parts = results.iter();
    let parts: Vec<String> = parts
        .map(|(result, count)| format!("{count} {}", Untrusted(result)))
        .collect();
    writeln!(out, "{}", parts.join(", "))
}
