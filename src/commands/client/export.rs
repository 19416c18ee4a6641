//! `tasks export`: writes old tasks with their histories as JSON lines.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::api;
use crate::cli::TasksExportArgs;
use crate::commands::api::{Api, take_data, text};
use crate::exit::CommandError;
use crate::files::{folder_of, sync_folder};

/// The tasks of one request. The service cuts larger pages.
const PAGE_TASKS: u32 = 200;

pub async fn export(args: &TasksExportArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let before = args.before.to_string();
    if args.out == Path::new("-") {
        write_tasks(&api, &before, out).await?;
        return Ok(());
    }
    // The draft is beside the file, so that the rename is on one file system.
    let name = args.out.file_name().unwrap_or_default().to_string_lossy();
    let draft = format!(".{name}.{:08x}.part", fastrand::u32(..));
    let draft = args.out.with_file_name(draft);
    let written = write_file(&api, &before, &draft, &args.out).await;
    if written.is_err() {
        // An incomplete file only wastes space. The first error counts.
        let _ = fs::remove_file(&draft);
    }
    let tasks = written?;
    let path = args.out.display();
    writeln!(out, "{path}: {tasks} tasks").context("could not print")?;
    Ok(())
}

/// Writes into `draft`, which becomes `path` once it is complete and on the disk. Returns the number
/// of tasks.
async fn write_file(
    api: &Api,
    before: &str,
    draft: &Path,
    path: &Path,
) -> Result<u64, CommandError> {
    let failed = || format!("could not write {}", path.display());
    let file = File::create_new(draft).with_context(failed)?;
    let mut file = BufWriter::new(file);
    let tasks = write_tasks(api, before, &mut file).await?;
    let file = file
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(draft, path))
        .and_then(|()| sync_folder(&folder_of(path)))
        .with_context(failed)?;
    Ok(tasks)
}

/// Writes a line for each task that was created before `before`, the newest first. Returns their
/// number.
async fn write_tasks(api: &Api, before: &str, out: &mut impl Write) -> Result<u64, CommandError> {
    let (mut tasks, mut cursor) = (0, None);
    loop {
        let mut query = vec![
            ("created_before", before.to_owned()),
            ("limit", PAGE_TASKS.to_string()),
        ];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = api.list(&query).await?;
        let next = text(&page, "/next").map(str::to_owned);
        for task in take_data(page) {
            tasks += 1;
            let events = history(api, &task).await?;
            let line = json!({"task": task, "events": events});
            writeln!(out, "{line}").context("could not write a task")?;
        }
        if next.is_none() {
            out.flush().context("could not write the tasks")?;
            return Ok(tasks);
        }
        cursor = next;
    }
}

async fn history(api: &Api, task: &Value) -> Result<Vec<Value>, CommandError> {
    let id = text(task, "/receiver/submission_id").unwrap_or_default();
    api.history(id).await
}
