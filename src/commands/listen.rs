//! `listen`: prints the webhooks that come, and verifies their signatures. It is for people who
//! write an endpoint, and it keeps nothing.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::ListenArgs;
use crate::commands::api::text;
use crate::commands::output::is_read;
use crate::domain::delivery::signing::SigningSecrets;
use crate::exit::{CommandError, Exit};
use crate::observe::untrusted::Untrusted;
use crate::secrets::signing_files;

/// The largest body. A task object with all its results is far smaller.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Webhooks that wait to be printed. Further ones wait for their answer.
const UNPRINTED_MAX: usize = 100;

#[derive(Clone)]
struct Endpoint {
    secrets: Option<Arc<SigningSecrets>>,
    answer: StatusCode,
    seen: mpsc::Sender<Seen>,
}

/// A webhook that came.
struct Seen {
    id: String,
    /// Why the signature is wrong; `None` if nothing was verified.
    verified: Option<Result<(), String>>,
    body: Bytes,
}

/// Prints webhooks until Ctrl-C, or until the reader of the output closes it.
///
/// # Errors
/// The address is in use, or the secret cannot be read.
pub async fn listen(args: &ListenArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let path = args.secret_file.as_deref();
    let secrets = path.map(|path| signing_files::load("--secret-file", path));
    let secrets = secrets.transpose()?.map(Arc::new);
    let is_verified = secrets.is_some();
    let answer = StatusCode::from_u16(args.answer).context("no status")?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        let message = format!("could not listen on {}: {error}", args.listen);
        CommandError::new(Exit::Unavailable, message)
    })?;
    let address = listener.local_addr().context("no address")?;
    let mut interrupts = signal(SignalKind::interrupt()).context("could not listen for Ctrl-C")?;
    let (seen, mut news) = mpsc::channel(UNPRINTED_MAX);
    let endpoint = Endpoint {
        secrets,
        answer,
        seen,
    };
    let router = Router::new()
        .fallback(receive)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(endpoint);
    if !args.json {
        greet(&address.to_string(), is_verified, out).context("could not print")?;
    }
    let serving = axum::serve(listener, router).into_future();
    tokio::pin!(serving);
    loop {
        let seen = tokio::select! {
            ended = &mut serving => return Ok(ended.context("could not serve")?),
            Some(seen) = news.recv() => seen,
            _ = interrupts.recv() => return Ok(()),
        };
        if !is_read(seen.write(args.json, out)).context("could not print")? {
            return Ok(());
        }
    }
}

fn greet(address: &str, is_verified: bool, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "endpoint   http://{address}/")?;
    let secret = if is_verified {
        "signatures are verified"
    } else {
        "signatures are not verified: --secret-file FILE verifies them"
    };
    writeln!(out, "secret     {secret}")?;
    writeln!(out, "next       evolink-receiver deliveries test NAME")?;
    out.flush()
}

async fn receive(State(endpoint): State<Endpoint>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let id = headers.get("webhook-id");
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or("-").to_owned();
    let secrets = endpoint.secrets.as_ref();
    let verified = secrets.map(|secrets| secrets.verify(&headers, &body));
    let answer = match &verified {
        Some(Err(_)) => StatusCode::UNAUTHORIZED,
        Some(Ok(())) | None => endpoint.answer,
    };
    let seen = Seen { id, verified, body };
    // Nobody prints it any more while the command ends.
    let _ = endpoint.seen.send(seen).await;
    answer
}

impl Seen {
    fn write(&self, json: bool, out: &mut impl Write) -> std::io::Result<()> {
        let body: Option<Value> = serde_json::from_slice(&self.body).ok();
        let body = body.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into());
        if json {
            let verified = self.verified.as_ref().map(Result::is_ok);
            let error = self.verified.as_ref().and_then(|it| it.as_ref().err());
            let line = json!({"id": self.id, "verified": verified, "error": error, "body": body});
            writeln!(out, "{line}")?;
            return out.flush();
        }
        // A test has a type, and the object of a task has a status.
        let status = text(&body, "/status").or(text(&body, "/type"));
        let task = text(&body, "/id").unwrap_or("-");
        let verified = match &self.verified {
            None => "not verified".to_owned(),
            Some(Ok(())) => "verified".to_owned(),
            Some(Err(why)) => format!("BAD SIGNATURE: {why}"),
        };
        let (id, status) = (Untrusted(&self.id), Untrusted(status.unwrap_or("-")));
        let task = Untrusted(task);
        writeln!(out, "{id}  {status}  {task}  {verified}")?;
        out.flush()
    }
}
