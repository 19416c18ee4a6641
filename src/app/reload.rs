//! Reads the configuration again, on SIGHUP and when it has changed. What can be exchanged takes
//! effect at once. The rest is named, and waits for the next start.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::exchange::Exchange;
use crate::clock::Clock;
use crate::config::{Config, InUse, KeyDigest};
use crate::evolink::EvolinkClient;
use crate::exit::CommandError;
use crate::http::internal::access::Gate;
use crate::observe::metrics::Metrics;
use crate::observe::telemetry::{self, CONFIGURATION};

/// How often the configuration is read.
const INTERVAL: Duration = Duration::from_secs(5);
/// The time between the two looks that a signal causes. If they differ, the next one counts that is
/// the same as the one before.
const SETTLING: Duration = Duration::from_millis(200);

/// The keys that take effect without a restart. The files that a configuration names are read again
/// by those who use them.
pub const RELOADED: [&str; 9] = [
    "archive.allow_networks",
    "archive.allowed_hosts",
    "evolink.api_key",
    "evolink.api_key_file",
    "forward.allow_networks",
    "forward.allowed_hosts",
    "forward.endpoints",
    "internal.api_keys",
    "log.level",
];

/// Those of them that are about addresses other than EvoLink's.
const EXCHANGED: [&str; 5] = [
    "archive.allow_networks",
    "archive.allowed_hosts",
    "forward.allow_networks",
    "forward.allowed_hosts",
    "forward.endpoints",
];

/// Reads the configuration as a start does.
pub type ReadConfig = Arc<dyn Fn() -> Result<Config, CommandError> + Send + Sync>;

/// Where to read again, and what was read first.
pub struct Reading {
    pub config: Config,
    pub read: ReadConfig,
}

/// Has everything read again now.
#[derive(Clone, Default)]
pub struct Reload {
    pub(super) certificate: Arc<Notify>,
    pub(super) internal_certificate: Arc<Notify>,
    pub(super) configuration: Arc<Notify>,
}

impl Reload {
    pub fn now(&self) {
        self.certificate.notify_one();
        self.internal_certificate.notify_one();
        self.configuration.notify_one();
    }
}

/// Keeps the values in use the same as those of the configuration.
pub struct Reloader {
    pub reading: Reading,
    pub evolink: Arc<EvolinkClient>,
    pub gate: Gate,
    pub exchange: Exchange,
    pub in_use: Arc<InUse>,
    pub metrics: Metrics,
    pub clock: Clock,
    /// The error that was logged last.
    pub refused: Option<String>,
    /// What was read last, hashed.
    pub read_last: Option<String>,
}

impl Reloader {
    /// Reads at intervals, and twice when `reload` is notified, until `shutdown`. What is read
    /// counts only when it is read again: the first time a file may be half written, and lack keys
    /// that it will have.
    pub async fn watch(mut self, reload: Arc<Notify>, shutdown: CancellationToken) {
        loop {
            let pause = timeout(INTERVAL, reload.notified());
            let Some(woken) = shutdown.run_until_cancelled(pause).await else {
                return;
            };
            if woken.is_ok() {
                self.read_last = self.read().await.as_ref().map(mark);
                sleep(SETTLING).await;
            }
            let Some(read) = self.read().await else {
                continue;
            };
            let now = Some(mark(&read));
            if now == self.read_last {
                self.apply(read);
            }
            self.read_last = now;
        }
    }

    /// `None` after logging why, if it could not even be tried.
    async fn read(&self) -> Option<Result<(Config, SecretString), CommandError>> {
        let read = Arc::clone(&self.reading.read);
        let reading = spawn_blocking(move || {
            let config = read()?;
            let key = config.evolink.read_api_key()?;
            Ok((config, key))
        });
        let failed = |error| error!(%error, "reading the configuration failed: {error}");
        reading.await.map_err(failed).ok()
    }

    fn apply(&mut self, read: Result<(Config, SecretString), CommandError>) {
        let applied = read.and_then(|(config, key)| {
            self.exchange(&config, key)?;
            Ok(config)
        });
        match applied {
            Ok(config) => {
                if self.refused.take().is_some() {
                    info!(target: CONFIGURATION, "the configuration has no errors any more");
                }
                self.name_waiting(&config);
            }
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(&mut self, error: &CommandError) {
        self.in_use.change(|seen| seen.is_refused = true);
        let lines: Vec<String> = error.all().map(ToString::to_string).collect();
        let text = lines.join("; ");
        if self.refused.as_ref() != Some(&text) {
            error!(target: CONFIGURATION, "the values in use stay as they are, because the configuration has errors: {text}");
        }
        self.refused = Some(text);
    }

    /// Puts the values that can be exchanged in use, unless they do not fit those that stay.
    fn exchange(&mut self, new: &Config, key: SecretString) -> Result<(), CommandError> {
        let before = &self.reading.config;
        let mut config = before.clone();
        config.evolink.api_key.clone_from(&new.evolink.api_key);
        config
            .evolink
            .api_key_file
            .clone_from(&new.evolink.api_key_file);
        config.evolink.is_key_of_environment = new.evolink.is_key_of_environment;
        // A file that is half written must not open the service to everybody.
        if !new.internal.api_keys.is_empty() {
            config.internal.api_keys.clone_from(&new.internal.api_keys);
        }
        (config.archive.allow_networks).clone_from(&new.archive.allow_networks);
        (config.archive.allowed_hosts).clone_from(&new.archive.allowed_hosts);
        (config.forward.allow_networks).clone_from(&new.forward.allow_networks);
        (config.forward.allowed_hosts).clone_from(&new.forward.allowed_hosts);
        config.forward.endpoints.clone_from(&new.forward.endpoints);
        config.log.clone_from(&new.log);
        config.validate()?;

        let changed = differing(&json(&config), &json(before));
        let exchanged = EXCHANGED
            .iter()
            .filter(|key| changed.iter().any(|changed| changed == *key));
        let exchanged: Vec<&str> = exchanged.copied().collect();
        let prepared = (!exchanged.is_empty())
            .then(|| self.exchange.prepare(&config))
            .transpose()?;
        let source = new.evolink.key_source();
        if self.evolink.replace_key(key, source)? {
            info!(target: CONFIGURATION, "{source} has changed: EvoLink is called with another key from now on");
            self.in_use
                .change(|seen| seen.read_at = self.clock.wall_now());
        }
        // From here on nothing fails.
        if let Some(prepared) = prepared {
            self.exchange.put(prepared);
        }
        for key in exchanged {
            info!(target: CONFIGURATION, key, "{key} has changed: the new value is in use from now on");
        }
        if config.log != before.log {
            telemetry::set_level(&config.log.level);
            info!(target: CONFIGURATION, "log.level has changed: {}", config.log.level);
        }
        let keys = &config.internal.api_keys;
        if !differing(&json(keys), &json(&before.internal.api_keys)).is_empty() {
            self.gate.replace(keys.clone());
            self.metrics.api_keys_in_use(keys.len());
            let names: Vec<&str> = keys.iter().map(|key| &*key.name).collect();
            info!(target: CONFIGURATION, "internal.api_keys has changed: the keys are {names:?} from now on");
        }
        let fingerprint = config.fingerprint();
        if fingerprint != before.fingerprint() {
            self.metrics.configuration_in_use(&fingerprint);
            let read_at = self.clock.wall_now();
            self.in_use.change(|seen| {
                seen.fingerprint = fingerprint;
                seen.read_at = read_at;
            });
        }
        self.reading.config = config;
        Ok(())
    }

    /// Names the changes that take effect at the next start, once.
    fn name_waiting(&self, new: &Config) {
        let waiting = differing(&json(&self.reading.config), &json(new));
        let before = self.in_use.seen().waiting;
        for key in waiting.iter().filter(|key| !before.contains(key)) {
            warn!(target: CONFIGURATION, key, "{key} has changed: it takes effect at the next start");
        }
        self.in_use.change(|seen| {
            seen.waiting = waiting;
            seen.is_refused = false;
        });
    }
}

fn mark(read: &Result<(Config, SecretString), CommandError>) -> String {
    match read {
        Ok((config, key)) => {
            let key = KeyDigest::of(key.expose_secret());
            format!("{} {key}", config.fingerprint())
        }
        Err(error) => error.all().map(ToString::to_string).collect(),
    }
}

fn json(values: &impl serde::Serialize) -> Value {
    serde_json::to_value(values).unwrap_or_default()
}

/// Returns the keys whose values differ. A list is one value.
fn differing(one: &Value, other: &Value) -> Vec<String> {
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        let is_same = one == other;
        return if is_same {
            Vec::new()
        } else {
            vec![String::new()]
        };
    };
    let mut keys = Vec::new();
    for (name, value) in one {
        let below = differing(value, other.get(name).unwrap_or(&Value::Null));
        keys.extend(below.into_iter().map(|key| match &*key {
            "" => name.clone(),
            key => format!("{name}.{key}"),
        }));
    }
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_named_by_its_key() {
        let one = json!({"a": {"b": 1, "c": [1, 2]}, "d": null, "e": {"f": {"g": 1}}});
        let other = json!({"a": {"b": 1, "c": [2, 1]}, "d": "x", "e": {"f": {"g": 1}}});
        assert_eq!(differing(&one, &other), ["a.c", "d"]);
        assert_eq!(differing(&one, &one), [""; 0]);
    }

    #[test]
    fn each_key_that_is_reloaded_is_one_of_the_configuration() {
        let config = json(&Config::default());
        for key in RELOADED {
            let value = key
                .split('.')
                .try_fold(&config, |value, name| value.get(name));
            assert!(value.is_some(), "{key}");
        }
    }
}
