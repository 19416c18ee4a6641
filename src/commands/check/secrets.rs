//! Findings about files of secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::files::will_be_made;
use super::{failed, found};
use crate::config::{Config, Finding, Level};
use crate::secrets::key_ring;
use crate::secrets::signing_files::{self, endpoint_key};
use crate::store::read::callback_keys::{Agreement, SeenKey};

/// Checks the key ring. `keys` are those that a shared database knows. `has_tasks` is `None` where
/// that could not be found out.
pub(super) fn key_ring(config: &Config, keys: &[SeenKey], has_tasks: Option<bool>) -> Vec<Finding> {
    const KEY: &str = "callback_tokens.key_file";
    let file = &config.callback_tokens.key_file;
    let path = file.display();
    if !file.try_exists().unwrap_or(true) {
        let refusal = key_ring::refusal_to_make(file, !keys.is_empty(), has_tasks == Some(true));
        if let Some(refusal) = refusal {
            return vec![failed(refusal)];
        }
        let will_be_made = will_be_made(KEY, file);
        if has_tasks.is_none() && will_be_made.level == Level::Ok {
            let message = format!(
                "{path}: absent, though the store is there: if it has tasks, the start is refused"
            );
            return vec![found(Level::Warning, KEY, message)];
        }
        return vec![will_be_made];
    }
    let mut findings = vec![match key_ring::load(file) {
        Ok(ring) => {
            let agreement = Agreement::of(&ring.fingerprints(), keys, true);
            match key_ring::refusal(&agreement) {
                Some(refusal) => failed(refusal),
                None => Finding::ok(KEY, format!("{path}: a key ring")),
            }
        }
        Err(error) => failed(error),
    }];
    findings.extend(readable_by_others(KEY, file));
    findings
}

/// Checks the secret that signs deliveries to apps' own addresses. Without `forward.allowed_hosts`
/// there are no such deliveries, so an error becomes a warning.
pub(super) fn signing_file(config: &Config) -> Vec<Finding> {
    const KEY: &str = "forward.secret_file";
    let file = &config.forward.secret_file;
    let mut findings = if file.try_exists().unwrap_or(true) {
        vec![match signing_files::load(KEY, file) {
            Ok(_) => Finding::ok(KEY, format!("{}: signs deliveries", file.display())),
            Err(error) => failed(error),
        }]
    } else {
        vec![will_be_made(KEY, file)]
    };
    for finding in &mut findings {
        if finding.level == Level::Error && config.forward.allowed_hosts.is_empty() {
            finding.level = Level::Warning;
        }
    }
    findings.extend(readable_by_others(KEY, file));
    findings
}

/// Warns of a secret that other users of the machine may read.
pub(super) fn readable_by_others(key: &str, file: &Path) -> Option<Finding> {
    let mode = fs::metadata(file).map_or(0, |file| file.permissions().mode());
    (mode & 0o077 != 0).then(|| {
        let (path, mode) = (file.display(), mode & 0o777);
        let message = format!("{path}: others may read it: mode {mode:03o}");
        found(Level::Warning, key, message)
    })
}

/// Looks at the files of secrets that the configuration names, and that no start makes. Whether
/// they can be read is found with the configuration.
pub(super) fn others(config: &Config) -> Vec<Finding> {
    let endpoints = config.forward.endpoints.iter().enumerate();
    let endpoints = endpoints.map(|(n, endpoint)| (endpoint_key(n), &endpoint.secret_file));
    let named = [
        ("evolink.api_key_file", &config.evolink.api_key_file),
        ("store.password_file", &config.store.password_file),
    ];
    let named = named
        .into_iter()
        .filter_map(|(key, file)| Some((key.to_owned(), file.as_ref()?)));
    let open = named.chain(endpoints);
    let mut findings: Vec<Finding> = open
        .filter_map(|(key, file)| readable_by_others(&key, file))
        .collect();
    let odd = config.store.password_oddity();
    findings.extend(odd.map(|odd| found(Level::Warning, odd.key, odd.message)));
    findings
}
