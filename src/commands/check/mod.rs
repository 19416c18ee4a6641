//! `check`: lists what is wrong with a service's configuration and surroundings, one line for each
//! finding. Has no side effects.

mod certificate;
mod room;
mod surroundings;

use std::io::Write;

use anyhow::Context as _;

pub use self::surroundings::surroundings;
use crate::cli::ConfigArgs;
use crate::clock::Clock;
use crate::commands::environment;
use crate::config::{Config, ConfigError, Finding, Level};
use crate::exit::{CommandError, Exit};
use crate::signing_files;

/// Checks everything, and prints a line for each finding.
///
/// # Errors
/// Exit code 78 if any finding is an error.
pub async fn check(args: &ConfigArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let (config, mut findings) = configuration(args);
    if let Some(config) = config {
        findings.extend(surroundings(&config, &Clock::System).await);
    }
    report(&findings, out)
}

/// Checks the configuration alone. `None` if it could not be read; the only finding says why.
pub fn configuration(args: &ConfigArgs) -> (Option<Config>, Vec<Finding>) {
    let config = match Config::load(args.config.as_deref(), environment()) {
        Ok(config) => config,
        Err(error) => return (None, vec![failed(error)]),
    };
    let mut findings = config.findings();
    let is_key_configured =
        config.evolink.api_key.is_some() || config.evolink.api_key_file.is_some();
    if is_key_configured && let Err(error) = config.evolink.read_api_key() {
        findings.push(failed(error));
    }
    for (n, endpoint) in config.forward.endpoints.iter().enumerate() {
        let key = signing_files::endpoint_key(n);
        if let Err(error) = signing_files::load(&key, &endpoint.secret_file) {
            findings.push(failed(error));
        }
    }
    if findings.iter().all(|finding| finding.level != Level::Error) {
        let place = match &args.config {
            Some(path) if !path.as_os_str().is_empty() => path.display().to_string(),
            _ => "defaults and environment".into(),
        };
        findings.insert(
            0,
            Finding::ok("configuration", format!("{place}: all values can hold")),
        );
    }
    (Some(config), findings)
}

/// Prints the findings. Their levels decide how the process ends.
///
/// # Errors
/// Exit code 78 if any finding is an error.
pub fn report(findings: &[Finding], out: &mut impl Write) -> Result<(), CommandError> {
    for finding in findings {
        writeln!(out, "{finding}").context("could not write the findings")?;
    }
    match findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .count()
    {
        0 => Ok(()),
        1 => Err(CommandError::new(Exit::Config, "1 error")),
        errors => Err(CommandError::new(Exit::Config, format!("{errors} errors"))),
    }
}

fn failed(error: ConfigError) -> Finding {
    found(Level::Error, error.key, error.message)
}

fn found(level: Level, key: impl Into<String>, message: impl Into<String>) -> Finding {
    Finding {
        level,
        key: key.into(),
        message: message.into(),
    }
}
