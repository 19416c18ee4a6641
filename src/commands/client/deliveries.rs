//! `deliveries`: lists and shows deliveries to endpoints for operators, retries them, and tests
//! endpoints.

use std::io::Write;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{PAGES_MAX, api, full_page, print_json};
use crate::cli::{DeliveriesListArgs, DeliveriesRetryArgs, DeliveriesShowArgs, DeliveriesTestArgs};
use crate::commands::api::text;
use crate::commands::table::{Table, column};
use crate::exit::{CommandError, Exit};
use crate::observe::untrusted::Untrusted;

/// The longest error text in the table.
const ERROR_CHARS_MAX: usize = 60;

/// Lists a page of deliveries.
pub async fn list(args: &DeliveriesListArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let filters = [
        ("state", args.state.clone()),
        ("endpoint", args.endpoint.clone()),
        ("task", args.task.clone()),
    ];
    let page = full_page(&args.page, &filters, async |query| {
        api.deliveries(&query).await
    });
    page.await?.print(&args.page, out, write_list)
}

/// Shows one delivery with its failed attempts.
pub async fn show(args: &DeliveriesShowArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let delivery = api(&args.client)?.delivery(args.id).await?;
    if args.json {
        return print_json(&delivery, out);
    }
    write_delivery(&delivery, out).context("could not print")?;
    Ok(())
}

fn write_delivery(delivery: &Value, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{:<11} {}", "delivery", delivery["id"])?;
    let lines = [
        ("state", "/state"),
        ("endpoint", "/endpoint"),
        ("url", "/url"),
        ("event", "/event/id"),
        ("type", "/event/type"),
        ("task", "/task_id"),
        ("submission", "/submission_id"),
        ("made", "/made_at"),
        ("due", "/due_at"),
        ("ended", "/ended_at"),
    ];
    for (label, pointer) in lines {
        if let Some(text) = text(delivery, pointer) {
            writeln!(out, "{label:<11} {}", Untrusted(text))?;
        }
    }
    writeln!(out, "{:<11} {}", "attempts", delivery["attempts"])?;
    let failed = delivery["failed_attempts"].as_array();
    let failed = failed.map(Vec::as_slice).unwrap_or_default();
    if failed.is_empty() {
        return writeln!(out, "\nno attempt failed");
    }
    let mut table = Table::new([
        column("attempt").right(),
        column("at"),
        column("status"),
        column("error").cut(12),
    ]);
    for attempt in failed {
        let cell = |pointer| Untrusted(text(attempt, pointer).unwrap_or("-")).to_string();
        let status = attempt["status"].as_i64();
        table.add_row([
            attempt["number"].to_string(),
            cell("/at"),
            status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            cell("/error"),
        ]);
    }
    writeln!(out)?;
    table.write(out)
}

/// Sends a test event to an endpoint.
///
/// # Errors
/// It did not answer 2xx (69).
pub async fn test(args: &DeliveriesTestArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let tested = api(&args.client)?.test_endpoint(&args.name).await?;
    let (name, took) = (Untrusted(&args.name), &tested["took_ms"]);
    let status = tested["status"].as_u64();
    if args.json {
        print_json(&tested, out)?;
    }
    match status {
        Some(200..300) if args.json => Ok(()),
        Some(status @ 200..300) => {
            let line = writeln!(out, "{name}  {status}, after {took} ms");
            Ok(line.context("could not print")?)
        }
        Some(status) => Err(CommandError::new(
            Exit::Unavailable,
            format!("{name} answered {status}, after {took} ms"),
        )),
        None => {
            let why = Untrusted(text(&tested, "/error").unwrap_or("-"));
            let message = format!("{name} did not answer: {why}");
            Err(CommandError::new(Exit::Unavailable, message))
        }
    }
}

/// Retries the given deliveries in order, or all dead ones.
///
/// # Errors
/// Stops at the first delivery that does not exist or was delivered.
pub async fn retry(args: &DeliveriesRetryArgs, out: &mut impl Write) -> Result<(), CommandError> {
    if args.all_dead {
        return retry_all(args, out).await;
    }
    let api = api(&args.client)?;
    for id in &args.ids {
        let delivery = api.retry_delivery(*id).await?;
        if args.json {
            print_json(&delivery, out)?;
            continue;
        }
        let cell = |pointer| Untrusted(text(&delivery, pointer).unwrap_or("-"));
        let line = writeln!(out, "{id}  {}  {}", cell("/state"), cell("/endpoint"));
        line.context("could not print")?;
    }
    Ok(())
}

async fn retry_all(args: &DeliveriesRetryArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let (mut retried, mut enabled, mut more) = (0, false, true);
    for _ in 0..PAGES_MAX {
        let answer = api.retry_deliveries(args.endpoint.as_deref()).await;
        let answer = answer.map_err(|error| after(retried, error))?;
        retried += answer["retried"].as_u64().unwrap_or_default();
        enabled |= answer["enabled"].as_bool().unwrap_or_default();
        more = answer["more"].as_bool().unwrap_or_default();
        if !more {
            break;
        }
    }
    if args.json {
        let answer = json!({"retried": retried, "enabled": enabled, "more": more});
        return print_json(&answer, out);
    }
    let rest = if more { ", and there are more" } else { "" };
    writeln!(out, "{retried} to be sent again{rest}").context("could not print")?;
    if let Some(endpoint) = args.endpoint.as_deref().filter(|_| enabled) {
        let endpoint = Untrusted(endpoint);
        writeln!(
            out,
            "{endpoint} is enabled: what was held for it is sent when it is due"
        )
        .context("could not print")?;
    }
    Ok(())
}

/// Adds to an error how many deliveries were retried before it.
fn after(retried: u64, error: CommandError) -> CommandError {
    if retried == 0 {
        return error;
    }
    CommandError::new(error.exit, format!("{error}, after {retried} were retried"))
}

fn write_list(deliveries: &[Value], out: &mut impl Write) -> std::io::Result<()> {
    if deliveries.is_empty() {
        return writeln!(out, "no deliveries");
    }
    let mut table = Table::new([
        column("id").right(),
        column("state"),
        column("endpoint").cut(8),
        column("event").drop(3),
        column("task"),
        column("made").drop(1),
        column("attempts").right().drop(2),
        column("status").drop(4),
        column("error").cut(12).drop(5),
    ]);
    for delivery in deliveries {
        let cell = |pointer| Untrusted(text(delivery, pointer).unwrap_or("-")).to_string();
        let number = |name: &str| delivery[name].as_i64().unwrap_or_default().to_string();
        let status = delivery["last_status"].as_i64();
        let error = text(delivery, "/last_error").unwrap_or("-");
        let is_disabled = delivery["endpoint_disabled"] == true;
        let mark = if is_disabled { " (disabled)" } else { "" };
        table.add_row([
            number("id"),
            cell("/state"),
            format!("{}{mark}", cell("/endpoint")),
            cell("/event/type"),
            cell("/task_id"),
            cell("/made_at"),
            number("attempts"),
            status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            Untrusted::up_to(error, ERROR_CHARS_MAX).to_string(),
        ]);
    }
    table.write(out)
}
