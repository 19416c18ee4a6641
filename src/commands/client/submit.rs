//! `submit`: one prompt. With `--wait`, its ids are printed at once, and then a bar shows how far
//! EvoLink is, because a person who waits may want to leave and to ask later.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use http::HeaderName;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::{POLL_INTERVAL, api, is_passing, name, print_json, results, seconds_until, show};
use crate::cli::SubmitArgs;
use crate::commands::api::{Api, is_terminal, state};
use crate::domain::kind::Kind;
use crate::exit::{CommandError, Exit};
use crate::observe::untrusted::Untrusted;

/// How long one query waits for the outcome. It is below the 60 s after which many proxies give up,
/// and no longer than the service waits.
const QUERY_SECONDS: u64 = 50;

/// The same while a bar is shown. EvoLink's progress is no event that ends a query.
const QUERY_SECONDS_WITH_BAR: u64 = 1;

/// Submits one prompt, and waits for its outcome if requested.
///
/// # Errors
/// The submit was not accepted, or nobody knows whether it was (76). With `--wait`: the task ended
/// without results (1), the time is over without an outcome (75), or Ctrl-C was pressed (130).
pub async fn submit(args: &SubmitArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let deadline = Instant::now() + Duration::from_secs(args.wait.unwrap_or_default());
    let mut interrupts = signal(SignalKind::interrupt()).context("could not listen for Ctrl-C")?;
    let (body, headers) = (submit_body(args)?, headers(args));
    let task = tokio::select! {
        answer = api.submit(args.kind, body, &headers) => answer?,
        _ = interrupts.recv() => return Err(interrupted_submit()),
    };
    if args.json {
        if args.wait.is_some() {
            // A person who waits sees them on stderr. Programs read the one object on stdout.
            let _ = show::write_ids(&task, &mut std::io::stderr());
        }
    } else {
        show::write_ids(&task, out).context("could not print")?;
    }
    let task = outcome(&api, task, deadline, &mut interrupts).await?;
    if args.json {
        print_json(&task, out)?;
    } else {
        show::write_rest(&task, out).context("could not print")?;
    }
    let Some(wait) = args.wait else { return Ok(()) };
    match state(&task) {
        "completed" => save(args, &api, &task, out).await,
        state if is_terminal(state) => {
            let (id, state) = (Untrusted(name(&task)), Untrusted(state));
            let message = format!("the task of submission {id} is {state}");
            Err(CommandError::new(Exit::TaskFailed, message))
        }
        _ => {
            let message = format!("no outcome after {wait} s; {}", goes_on(&task));
            Err(CommandError::new(Exit::TempFail, message))
        }
    }
}

/// Downloads the first result, if requested.
async fn save(
    args: &SubmitArgs,
    api: &Api,
    task: &Value,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let Some(path) = &args.out else { return Ok(()) };
    let bytes = results::download(api, name(task), 0, Duration::ZERO, path).await?;
    if !args.json {
        let path = path.display();
        writeln!(out, "{:<11} {path}: {bytes} bytes", "saved").context("could not print")?;
    }
    Ok(())
}

fn interrupted_submit() -> CommandError {
    let message = "interrupted; EvoLink may have accepted the submit: do not repeat it, look at `evolink-receiver tasks list`";
    CommandError::new(Exit::OutcomeUnknown, message)
}

fn goes_on(task: &Value) -> String {
    let id = Untrusted(name(task));
    format!("the task goes on: ask with `evolink-receiver tasks show {id}`")
}

fn headers(args: &SubmitArgs) -> Vec<(HeaderName, &str)> {
    let headers = [
        ("idempotency-key", args.idempotency_key.as_deref()),
        ("x-client-reference", args.reference.as_deref()),
    ];
    let given = headers.into_iter();
    given
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), value?)))
        .collect()
}

fn submit_body(args: &SubmitArgs) -> Result<String, CommandError> {
    if let Some(path) = &args.body {
        let text = std::fs::read_to_string(path);
        return text.map_err(|error| {
            let message = format!("could not read --body {}: {error}", path.display());
            CommandError::new(Exit::Usage, message)
        });
    }
    let mut body = Map::new();
    let model = match (&args.model, args.kind) {
        (Some(model), _) => model,
        (None, Kind::Image) => "z-image-turbo",
        (None, Kind::Video | Kind::Audio) => {
            let message = "--model is missing: z-image-turbo makes images only";
            return Err(CommandError::new(Exit::Usage, message));
        }
    };
    body.insert("model".into(), json!(model));
    // EvoLink chooses the values that were not given.
    let optional = [
        ("prompt", args.prompt.as_ref().map(|prompt| json!(prompt))),
        ("size", args.size.as_ref().map(|size| json!(size))),
        ("seed", args.seed.map(|seed| json!(seed))),
        ("nsfw_check", args.nsfw_check.map(|check| json!(check))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body.insert(name.into(), value);
        }
    }
    for field in &args.field {
        let (name, value) = field.split_once('=').ok_or_else(|| {
            let message = format!("--field {}: want NAME=VALUE", Untrusted(field));
            CommandError::new(Exit::Usage, message)
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        body.insert(name.into(), value);
    }
    Ok(Value::Object(body).to_string())
}

/// Returns the task once it is finished, or as it is at the deadline. Until then, asks again if the
/// service restarts or has no free slot for a waiter: the submit was made, and its task continues.
async fn outcome(
    api: &Api,
    mut task: Value,
    deadline: Instant,
    interrupts: &mut Signal,
) -> Result<Value, CommandError> {
    let id = name(&task).to_owned();
    let progress = Progress::new(deadline);
    while !is_terminal(state(&task)) && Instant::now() < deadline {
        progress.see(&task);
        let seconds = seconds_until(deadline).min(progress.query_seconds());
        let asked = tokio::select! {
            asked = api.task_within(&id, seconds) => asked,
            _ = interrupts.recv() => {
                progress.bar.finish_and_clear();
                return Err(CommandError::new(Exit::Interrupted, goes_on(&task)));
            }
        };
        match asked {
            Ok(found) => task = found,
            Err(error) if is_passing(error.exit) => {
                sleep(POLL_INTERVAL.min(deadline - Instant::now())).await;
            }
            Err(error) => return Err(error),
        }
    }
    progress.bar.finish_and_clear();
    Ok(task)
}

/// A bar on a terminal; otherwise nothing is shown.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(deadline: Instant) -> Self {
        let bar = if Instant::now() < deadline {
            ProgressBar::new(100)
        } else {
            ProgressBar::hidden()
        };
        let template = "{bar:30} {percent:>3} %  {msg}, {elapsed}";
        let style = ProgressStyle::with_template(template).expect("a template of ours");
        Self {
            bar: bar.with_style(style.progress_chars("━╸─")),
        }
    }

    fn see(&self, task: &Value) {
        self.bar
            .set_position(task["progress"].as_u64().unwrap_or_default().min(100));
        self.bar.set_message(Untrusted(state(task)).to_string());
        self.bar.tick();
    }

    fn query_seconds(&self) -> u64 {
        if self.bar.is_hidden() {
            QUERY_SECONDS
        } else {
            QUERY_SECONDS_WITH_BAR
        }
    }
}
