//! Checks what the configuration refers to: files, the system's certificates, the clock. Nothing
//! here creates, changes or locks a file, binds a socket, or calls another host except the database
//! server.

use std::fmt;
use std::path::Path;

use super::certificate::{certificate, internal_certificate};
use super::files::{STORE, not_made, will_be_made};
use super::free_space::free_space;
use super::listeners::listeners;
use super::secrets::{key_ring, others, signing_file};
use super::{failed, found};
use crate::app::data_folders;
use crate::app::data_folders::nearest_folder;
use crate::archive::storage::Storage;
use crate::clock::Clock;
use crate::config::{Config, Finding, Level, TlsMode};
use crate::domain::result_file::Place;
use crate::domain::timestamp::Timestamp;
use crate::http::tls::{Listener, TlsSource};
use crate::secrets::key_ring::check_database_is_there;
use crate::store::read::callback_keys::SeenKey;
use crate::store::read::inspect::{Inspected, START_BYTES, bytes_to_fill, inspect};

/// 2026-01-01. This program is younger, so a clock with an earlier time is wrong.
const CLOCK_MIN: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// 2100-01-01. A clock with a later time is most likely wrong too.
const CLOCK_MAX: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// Returns the findings about everything around the process, in the order in which a start needs
/// it.
pub async fn surroundings(config: &Config, clock: &Clock) -> Vec<Finding> {
    let mut findings = vec![clock_finding(clock)];
    let denied = data_folders::denied(config);
    let errors = denied.iter();
    findings.extend(errors.map(|denied| found(Level::Error, denied.key, &*denied.message)));
    let is_denied = |file: &Path| {
        let folder = nearest_folder(file);
        denied.iter().any(|denied| denied.folder == folder)
    };
    let is_store_denied = denied.iter().any(|denied| denied.key == STORE);
    let store = match config.store.location() {
        // The cause is reported already.
        _ if is_store_denied || config.validate_key(STORE).is_err() => None,
        Ok(location) => Some(inspect(&location).await),
        Err(error) => {
            findings.push(failed(error));
            None
        }
    };
    let has_tasks = match &store {
        Some(Ok(inspected)) => inspected.has_tasks(),
        // A server may refuse this role before it shows what is there.
        Some(Err(_)) if !config.store.is_postgres() => None,
        Some(Err(_)) | None => Some(false),
    };
    let keys: &[SeenKey] = match &store {
        Some(Ok(Inspected::Server { keys, .. })) => keys,
        _ => &[],
    };
    if !is_denied(&config.callback_tokens.key_file) {
        findings.extend(key_ring(config, keys, has_tasks));
    }
    if !is_denied(&config.forward.secret_file) {
        findings.extend(signing_file(config));
    }
    findings.extend(others(config));
    let tls = &config.public.tls;
    let (self_signed, _) = TlsSource::self_signed_files(&tls.self_signed_dir);
    if tls.mode != TlsMode::SelfSigned || !is_denied(&self_signed) {
        findings.extend(certificate(&config.public, clock));
    }
    let tls = &config.internal.tls;
    let (self_signed, _) = Listener::Internal.self_signed_files(&tls.self_signed_dir);
    if tls.mode != TlsMode::SelfSigned || !is_denied(&self_signed) {
        findings.extend(internal_certificate(&config.internal, clock));
    }
    if config.archive.enabled
        && let Ok(place) = config.archive.url.parse()
        && !matches!(&place, Place::Folder(folder) if is_denied(&folder.join("file")))
    {
        findings.push(archive(&config.archive.url, &place).await);
    }
    findings.push(system_roots());
    findings.extend(listeners(config));
    match store {
        Some(Ok(inspected)) => {
            let file = inspected.file().map(Path::to_owned);
            match check_database_is_there(config) {
                Ok(()) => findings.extend(store_findings(inspected)),
                Err(error) => findings.push(found(Level::Error, STORE, error.to_string())),
            }
            findings.extend(file.iter().flat_map(|file| free_space(&config.store, file)));
        }
        Some(Err(error)) => findings.push(found(Level::Error, STORE, error.to_string())),
        None => {}
    }
    findings
}

const ARCHIVE: &str = "archive.url";

/// Looks at the place of result files.
async fn archive(url: &str, place: &Place) -> Finding {
    match Storage::look(place).await {
        Ok(()) => Finding::ok(ARCHIVE, url),
        Err(error) => found(Level::Error, ARCHIVE, error.to_string()),
    }
}

const KIB: u64 = 1024;

fn clock_finding(clock: &Clock) -> Finding {
    let now = clock.wall_now();
    if (CLOCK_MIN..CLOCK_MAX).contains(&now) {
        return Finding::ok("clock", now.to_string());
    }
    let message = format!("shows {now}, which cannot be: certificates and tokens depend on it");
    found(Level::Error, "clock", message)
}

/// Builds a client as for EvoLink, which fails if the system has no root certificates.
fn system_roots() -> Finding {
    let key = "system roots";
    match reqwest::Client::builder().no_proxy().build() {
        Ok(_) => Finding::ok(key, "certificates that outgoing TLS can trust are there"),
        Err(error) => {
            let error = anyhow::Error::new(error);
            let message = format!("install ca-certificates, or set SSL_CERT_FILE: {error:#}");
            found(Level::Error, key, message)
        }
    }
}

fn store_findings(inspected: Inspected) -> Vec<Finding> {
    match inspected {
        Inspected::Absent { path } => vec![store_will_be_made(&path)],
        Inspected::InUse { path, process } => {
            let message = format!("{}: in use by process {process}", path.display());
            vec![Finding::ok(STORE, message)]
        }
        Inspected::Known {
            path,
            schema,
            newest,
            has_tasks: _,
        } => vec![Finding::ok(
            STORE,
            schema_message(path.display(), schema, newest),
        )],
        Inspected::Empty {
            path,
            has_log: true,
        } => {
            let message = format!("{}: the start folds in its write-ahead log", path.display());
            vec![Finding::ok(STORE, message)]
        }
        Inspected::Empty {
            path,
            has_log: false,
        } => {
            let place = path.display();
            vec![match lack_of_space(&path) {
                Some(reason) => found(Level::Error, STORE, format!("{place}: {reason}")),
                None => {
                    let message = format!("{place}: a database with nothing of ours in it");
                    found(Level::Warning, STORE, message)
                }
            }]
        }
        Inspected::Server {
            name,
            schema,
            newest,
            careless,
            has_tasks: _,
            keys: _,
        } => {
            let message = match schema {
                Some(schema) => schema_message(&name, schema, newest),
                None => format!("{name}: answers; the start makes our tables"),
            };
            let mut findings = vec![Finding::ok(STORE, message)];
            findings.extend(careless.into_iter().map(|setting| {
                let message = format!("{name}: runs with {setting}=off: a power cut loses callbacks that were acknowledged");
                found(Level::Warning, STORE, message)
            }));
            findings
        }
    }
}

fn schema_message(name: impl fmt::Display, schema: i64, newest: i64) -> String {
    let upgrade = if schema < newest {
        format!(", which the start brings to {newest}")
    } else {
        String::new()
    };
    format!("{name}: schema {schema}{upgrade}")
}

/// Reports a database that does not exist. It is an error if the start has no space to make it.
fn store_will_be_made(file: &Path) -> Finding {
    let finding = will_be_made(STORE, file);
    match lack_of_space(file) {
        Some(reason) if finding.level == Level::Ok => {
            not_made(STORE, file, &nearest_folder(file), &reason)
        }
        _ => finding,
    }
}

/// Returns why the tables of a new database do not fit on its disk; `None` if they do.
fn lack_of_space(file: &Path) -> Option<String> {
    let bytes = bytes_to_fill(&nearest_folder(file)).ok()?;
    let (free, wanted) = (bytes / KIB, START_BYTES / KIB);
    (bytes < START_BYTES).then(|| {
        format!("the disk is full: {free} KiB are free, and the first start needs {wanted}")
    })
}
