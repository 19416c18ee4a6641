//! `check`: lists what is wrong with a service's configuration and surroundings, one line for each
//! finding. Has no side effects; only `--online` calls other hosts than the database server.

mod certificate;
mod files;
mod free_space;
mod listeners;
mod online;
mod secrets;
mod surroundings;

use std::io::Write;

use anyhow::Context as _;

pub use self::surroundings::surroundings;
use crate::cli::{CheckArgs, ConfigArgs};
use crate::clock::Clock;
use crate::commands::environment;
use crate::config::{Config, ConfigError, Finding, Level, Places, unknown_variables};
use crate::exit::{CommandError, Exit};
use crate::secrets::signing_files;

/// Checks everything, and prints a line for each finding.
///
/// # Errors
/// Exit code 78 if any finding is an error.
pub async fn check(args: &CheckArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let (config, mut findings) = configuration(&args.config);
    if let Some(config) = config {
        findings.extend(in_places(
            surroundings(&config, &Clock::System).await,
            &args.config,
        ));
        if args.online {
            let online = online::online(&config, &Clock::System).await;
            findings.extend(in_places(online, &args.config));
        }
    }
    report(&findings, out)
}

/// Adds to each finding the line of the configuration that it is about.
fn in_places(mut findings: Vec<Finding>, args: &ConfigArgs) -> Vec<Finding> {
    if let Ok(environment) = environment() {
        let places = Places::read(args.config.as_deref(), &environment);
        for finding in &mut findings {
            places.add_to(finding);
        }
    }
    findings
}

/// Returns the configuration for a start.
///
/// # Errors
/// All errors that `check` finds in the configuration, with exit code 78.
pub fn configuration_of_start(args: &ConfigArgs) -> Result<Config, CommandError> {
    let (config, findings) = configuration(args);
    let errors = errors(findings);
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(CommandError::of_several(errors)),
    }
}

/// Adds to the errors of a configuration what `check` finds wrong around it, so that a person
/// corrects everything at once.
pub async fn with_surroundings(refusal: CommandError, args: &ConfigArgs) -> CommandError {
    let (Some(config), _) = configuration(args) else {
        return refusal;
    };
    let around = in_places(surroundings(&config, &Clock::System).await, args);
    CommandError::of_several(std::iter::once(refusal).chain(errors(around)).collect())
}

fn errors(findings: Vec<Finding>) -> Vec<CommandError> {
    let errors = findings
        .into_iter()
        .filter(|finding| finding.level == Level::Error);
    errors
        .map(|error| ConfigError::new(error.key, error.message).into())
        .collect()
}

/// Checks the configuration alone. Returns it if it can be used to check its surroundings: that is,
/// unless a value could not be read.
pub fn configuration(args: &ConfigArgs) -> (Option<Config>, Vec<Finding>) {
    let environment = match environment() {
        Ok(environment) => environment,
        Err(error) => return (None, vec![failed(error)]),
    };
    let places = Places::read(args.config.as_deref(), &environment);
    let (config, faults) =
        Config::load_all(args.config.as_deref(), environment.clone().into_iter());
    let is_read = faults.iter().all(|fault| fault.is_unknown_key);
    let unread: Vec<String> = faults
        .iter()
        .filter(|fault| !fault.is_unknown_key)
        .map(|fault| fault.error.key.clone())
        .collect();
    let mut findings: Vec<Finding> = faults
        .into_iter()
        .map(|fault| failed(fault.error))
        .collect();
    let in_their_place = |mut findings: Vec<Finding>| {
        findings.sort_by_key(|finding| places.line(finding));
        for finding in &mut findings {
            places.add_to(finding);
        }
        findings
    };
    let Some(config) = config else {
        return (None, in_their_place(findings));
    };
    findings.extend(unknown_variables(environment.into_iter()));
    let mut rest = config.findings();
    rest.extend(unreadable_secrets(&config));
    // Where a value could not be read there is the default, about which nothing is said.
    let is_about_defaults =
        |finding: &Finding| unread.iter().any(|key| is_related(key, &finding.key));
    findings.extend(
        rest.into_iter()
            .filter(|finding| !is_about_defaults(finding)),
    );
    let mut findings = in_their_place(findings);
    if !is_read {
        let message = "files, certificate, store and listeners are not checked until these errors are corrected";
        findings.push(found(Level::Warning, "configuration", message));
        return (None, findings);
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

/// Whether a finding about `key` may be due to `unread`, a key that has its default only because
/// its value could not be read: it is in the same table, or in the same list.
fn is_related(unread: &str, key: &str) -> bool {
    let list = unread.split_once('[').map(|(list, _)| list);
    if let Some(list) = list {
        return key.starts_with(list);
    }
    let table = |key: &str| key.rsplit_once('.').map(|(table, _)| table.to_owned());
    table(key) == table(unread) || key.starts_with(unread)
}

fn unreadable_secrets(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
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
    findings
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
