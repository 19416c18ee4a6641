//! `results` and `archive`: downloads result files, has failed ones fetched again, and verifies the
//! archived ones.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Response;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{POLL_INTERVAL, api, is_passing, print_json, seconds_until};
use crate::cli::{ArchiveRetryArgs, ArchiveVerifyArgs, ResultsGetArgs};
use crate::commands::api::{Api, text};
use crate::exit::{CommandError, Exit};
use crate::observe::untrusted::Untrusted;

/// The most pages of one verification. Each has up to 200 files.
const PAGES_MAX: u32 = 1_000_000;

/// A file that is not archived yet is asked for again for this long, even without `--wait`.
const FETCH_WAIT: Duration = Duration::from_mins(1);

/// Downloads one result of a task.
///
/// # Errors
/// There is no such file, or it did not come in time (75). The file is then as it was before.
pub async fn get(args: &ResultsGetArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let wait = Duration::from_secs(args.wait.unwrap_or_default());
    let bytes = download(&api, &args.id, args.number, wait, &args.out).await?;
    let path = args.out.display();
    writeln!(out, "{path}: {bytes} bytes").context("could not print")?;
    Ok(())
}

/// Downloads a result into `path`. Returns its length.
pub(super) async fn download(
    api: &Api,
    id: &str,
    number: u8,
    wait: Duration,
    path: &Path,
) -> Result<u64, CommandError> {
    let start = Instant::now();
    let deadline = start + wait;
    let last = deadline.max(start + FETCH_WAIT);
    let response = loop {
        match api.result(id, number, seconds_until(deadline)).await {
            Ok(response) => break response,
            Err(error) if is_passing(error.exit) && Instant::now() < last => {
                let is_early = error.message.contains("not_completed");
                if is_early && Instant::now() >= deadline {
                    return Err(error);
                }
                sleep(POLL_INTERVAL).await;
            }
            Err(error) => return Err(error),
        }
    };
    // The draft is beside the file, so that the rename is on one file system.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{:08x}.part", fastrand::u32(..)));
    let written = write(response, &draft).await;
    let placed = match written {
        Ok(bytes) => fs::rename(&draft, path)
            .with_context(|| format!("could not write {}", path.display()))
            .map(|()| bytes),
        Err(error) => Err(error),
    };
    if placed.is_err() {
        // The draft may not exist.
        let _ = fs::remove_file(&draft);
    }
    Ok(placed?)
}

async fn write(mut response: Response, draft: &Path) -> anyhow::Result<u64> {
    let total = response.content_length();
    let bar = bar(total);
    let context = || format!("could not write {}", draft.display());
    let mut file = File::create(draft).with_context(context)?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.context("the download broke off")? {
        file.write_all(&chunk).with_context(context)?;
        bytes += chunk.len() as u64;
        bar.set_position(bytes);
    }
    file.sync_all().with_context(context)?;
    bar.finish_and_clear();
    anyhow::ensure!(
        total.is_none_or(|total| total == bytes),
        "the download broke off after {bytes} bytes"
    );
    Ok(bytes)
}

/// A bar on a terminal; otherwise nothing is shown.
fn bar(total: Option<u64>) -> ProgressBar {
    let template = "{bar:40} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}";
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new(total.unwrap_or_default());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Has failed files fetched again.
pub async fn retry(args: &ArchiveRetryArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let (mut retried, mut more) = (0, true);
    for _ in 0..super::PAGES_MAX {
        let answer = api.retry_files(args.task.as_deref()).await?;
        retried += answer["retried"].as_u64().unwrap_or_default();
        more = answer["more"] == true;
        if !more {
            break;
        }
    }
    if args.json {
        return print_json(&json!({"retried": retried, "more": more}), out);
    }
    let rest = if more { ", and there are more" } else { "" };
    writeln!(out, "{retried} files will be fetched again{rest}").context("could not print")?;
    Ok(())
}

/// Verifies all archived files.
///
/// # Errors
/// Some files are damaged or missing (65).
pub async fn verify(args: &ArchiveVerifyArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let bar = ProgressBar::new_spinner();
    let (mut verified, mut bytes, mut damaged) = (0, 0, Vec::new());
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let page = api.verify_files(cursor.as_deref()).await?;
        verified += page["verified"].as_u64().unwrap_or_default();
        bytes += page["bytes"].as_u64().unwrap_or_default();
        damaged.extend(page["damaged"].as_array().cloned().unwrap_or_default());
        bar.set_message(format!("{verified} files, {bytes} bytes"));
        bar.tick();
        cursor = text(&page, "/next").map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    let count = damaged.len();
    if args.json {
        let answer = json!({"verified": verified, "bytes": bytes, "damaged": damaged});
        print_json(&answer, out)?;
    } else {
        for file in &damaged {
            let cell = |pointer| Untrusted(text(file, pointer).unwrap_or("-"));
            let number = file["result"].as_i64().unwrap_or_default();
            let next = match file["is_fetched_again"].as_bool() {
                Some(true) => ": it is fetched again",
                Some(false) => ": EvoLink does not offer it any more",
                None => "",
            };
            let line = writeln!(
                out,
                "{}/{number}  {}{next}",
                cell("/submission_id"),
                cell("/reason")
            );
            line.context("could not print")?;
        }
        writeln!(
            out,
            "{verified} files verified, {bytes} bytes, {count} damaged or missing"
        )
        .context("could not print")?;
    }
    if count == 0 {
        return Ok(());
    }
    let message = format!("{count} archived files are damaged or missing");
    Err(CommandError::new(Exit::DataErr, message))
}
