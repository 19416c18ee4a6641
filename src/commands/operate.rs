//! Operators' commands that work on a service's own files: `callback-url`, `healthcheck`.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

use crate::app::backup_places::advice;
use crate::cli::{CallbackUrlArgs, HealthcheckArgs};
use crate::commands::load_config;
use crate::commands::service::Service;
use crate::domain::callback::{Label, Subject};
use crate::exit::{CommandError, Exit};
use crate::secret_file::shown_path;
use crate::secrets::key_ring;

/// A container's health check has a few seconds. A service that needs longer is not healthy.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Prints a standing callback URL. The key ring must exist, because the service would not know one
/// that this command creates.
///
/// # Errors
/// If the label or the key ring is unusable.
pub fn callback_url(args: &CallbackUrlArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let label: Label = args
        .label
        .parse()
        .map_err(|error| CommandError::new(Exit::Usage, format!("--label: {error}")))?;
    // Do not validate the rest: minting a URL needs no EvoLink key.
    let config = load_config(args.config.config.as_deref())?;
    config.validate_key("public.base_url")?;
    if !config.public.has_callbacks() {
        let message = "public.mode: \"poll-only\" has no callback URLs, because nothing would hear the callbacks";
        return Err(CommandError::new(Exit::Config, message));
    }
    let file = &config.callback_tokens.key_file;
    if !file.exists() {
        let advice = advice(
            args.config.config.as_deref(),
            "start the service once, which makes it",
        );
        let message = format!(
            "callback_tokens.key_file: there is no {}: {advice}",
            shown_path(file)
        );
        return Err(CommandError::new(Exit::Config, message));
    }
    let ring = key_ring::load(file)?;
    let token = ring.mint(&Subject::Standing(label));
    writeln!(out, "{}", config.public.callback_url(&token)).context("could not print the URL")?;
    Ok(())
}

/// Asks the service whether it is ready, or with `--live` whether it is alive.
///
/// # Errors
/// `Unavailable` if it is not.
pub async fn healthcheck(args: &HealthcheckArgs) -> Result<(), CommandError> {
    let service = Service::find(args.url.as_ref(), args.config.config.as_deref())?;
    let base = &service.url;
    let path = if args.live { "livez" } else { "readyz" };
    let url = base.join(path).context("--url cannot be a base")?;
    let client = service.client_without_secrets()?;
    let client = client.no_proxy().timeout(HEALTHCHECK_TIMEOUT);
    let client = client.build().context("could not make an HTTP client")?;
    let answer = client.get(url).send().await.map_err(|error| {
        let error = anyhow::Error::new(error.without_url());
        not_ready(&format!("{base}: {error:#}"))
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = answer.text().await.unwrap_or_default();
    Err(not_ready(&format!("{status} {body}")))
}

fn not_ready(reason: &str) -> CommandError {
    CommandError::new(Exit::Unavailable, format!("not ready: {reason}"))
}
